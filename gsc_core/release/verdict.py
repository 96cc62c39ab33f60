"""What a policy says of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gsc_core.evaluation.intervals import Interval

MAX_NAMED = 3
_ROUNDING = 9  # decimals: 0.1 + 0.2 keeps a limit of 0.3


class Outcome(StrEnum):
    """How a limit is kept; the interval of the figure decides."""

    MET = "pass"
    BROKEN = "fail"
    UNSURE = "not enough data"

    @classmethod
    def of(cls, figure: Interval, limit: float, *, at_most: bool) -> Outcome:
        """Where the interval lies: wholly within the limit (which belongs to it), out, or across.

        Numbers that differ by less than 1e-9 are the same.
        """
        low, high = round(figure.low - limit, _ROUNDING), round(figure.high - limit, _ROUNDING)
        met, broken = (high <= 0, low > 0) if at_most else (low >= 0, high < 0)
        if met:
            return cls.MET
        return cls.BROKEN if broken else cls.UNSURE


@dataclass(frozen=True)
class Judged:
    """One limit of a policy: what it limits, the limit, the figure with its interval, in words.

    rule: the number of its `[[rule]]`, from 1. interval: the figure as numbers, None when there is
    none. Names that people gave are in here as text, with what cannot be printed left out.
    """

    title: str
    limit: str
    figure: str
    outcome: Outcome
    because: str
    rule: int = 0
    interval: Interval | None = None

    @property
    def reason(self) -> str:
        """What stands against a pass, in a line."""
        if self.interval is None:
            return f"{self.title}: {self.because}"
        return f"{self.title}: {self.figure}, required: {self.limit}."


@dataclass(frozen=True)
class Verdict:
    """All limits together: fail if one fails, else not enough data if one is unsure, else pass."""

    rules: tuple[Judged, ...]

    @property
    def outcome(self) -> Outcome:
        """The gravest of the limits' outcomes."""
        outcomes = {rule.outcome for rule in self.rules}
        return next((o for o in (Outcome.BROKEN, Outcome.UNSURE) if o in outcomes), Outcome.MET)

    def having(self, outcome: Outcome) -> tuple[Judged, ...]:
        """The limits that came out so."""
        return tuple(rule for rule in self.rules if rule.outcome is outcome)

    @property
    def headline(self) -> str:
        """The verdict in one short sentence."""
        broken, unsure = len(self.having(Outcome.BROKEN)), len(self.having(Outcome.UNSURE))
        total = len(self.rules)
        if broken:
            return f"This model breaks {_of(broken, total)}."
        if unsure and total > 1:
            return (
                f"This model breaks none of {total} limits of the release policy, but {unsure} "
                "cannot be decided yet."
            )
        if unsure:
            return f"Whether this model meets {_of(unsure, total)} cannot be decided yet."
        return f"This model meets {_of(total, total)}."

    @property
    def reasons(self) -> tuple[str, ...]:
        """What prevents a pass, the broken limits first; at most a few, and how many more."""
        broken, unsure = self.having(Outcome.BROKEN), self.having(Outcome.UNSURE)
        grave = broken or unsure
        named = tuple(rule.reason for rule in grave[:MAX_NAMED])
        more, untold = len(grave) - MAX_NAMED, len(unsure) if broken else 0
        rest = {f"And {more} more.": more, f"{untold} more cannot be decided yet.": untold}
        return named + tuple(sentence for sentence, number in rest.items() if number > 0)

    @property
    def sentence(self) -> str:
        """The verdict and what prevents a pass, for a reader who sees nothing else."""
        return " ".join((self.headline, *self.reasons))


def _of(some: int, total: int) -> str:
    if total == 1:
        return "the one limit of the release policy"
    counted = f"all {total}" if some == total else f"{some} of {total}"
    return f"{counted} limits of the release policy"
