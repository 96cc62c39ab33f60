"""What a policy says of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a limit is kept; the interval of the figure decides."""

    KEPT = "pass"
    BROKEN = "fail"
    UNSURE = "not enough data"


@dataclass(frozen=True)
class Judged:
    """One rule of a policy: what it limits, the limit, the figure with its interval, in words."""

    title: str
    limit: str
    figure: str
    outcome: Outcome
    because: str


@dataclass(frozen=True)
class Verdict:
    """All rules together: fail if one fails, else not enough data if one is unsure, else pass."""

    rules: tuple[Judged, ...]

    @property
    def outcome(self) -> Outcome:
        """The gravest of the rules' outcomes."""
        found = {rule.outcome for rule in self.rules}
        return next((o for o in (Outcome.BROKEN, Outcome.UNSURE) if o in found), Outcome.KEPT)
