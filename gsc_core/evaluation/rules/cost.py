"""The least expected cost of the two mistakes."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from gsc_core.evaluation.cutpoints import expected_cost, least_cost
from gsc_core.evaluation.effects import Effect
from gsc_core.evaluation.rules import expectation
from gsc_core.evaluation.rules.base import Control, Evidence, Share, ThresholdRule

_MOST = 1e6  # times that one mistake can be asked to be worse than the other
_RATIO = Control(
    field="miss",
    key="ratio",
    label="How bad is accepting an unfamiliar image, compared to flagging a familiar one?",
    low=1 / _MOST,
    high=_MOST,
    step=1.0,
    start=10.0,
    help="10: accepting one unfamiliar image is as bad as ten false alarms.",
)
Price = Annotated[float, Field(gt=0, le=1e9)]


class Cost(ThresholdRule):
    """The least expected cost: of an OOD image that is accepted, and of an ID image flagged."""

    name: Literal["cost"] = "cost"
    miss: Price
    alarm: Price
    prevalence: Share

    title: ClassVar[str] = "Least cost"
    meaning: ClassVar[str] = "The mistakes you expect are as cheap as they can be."
    method: ClassVar[str] = "the least expected cost"
    example: ClassVar[str] = "cost:miss=10,alarm=1,prevalence=0.01"
    controls: ClassVar[tuple[Control, ...]] = (_RATIO, expectation.CONTROL)

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.least_cost`."""
        return least_cost(
            evidence.calibration, evidence.ood, self.miss, self.alarm, self.prevalence
        )

    def words(self) -> str:
        """Which mistake is worse, how many times, and what is expected."""
        compared = _compared(self.miss, self.alarm)
        return f"least cost, {compared}, expecting {expectation.words(self.prevalence)}"

    def fewest(self) -> tuple[int, int]:
        """See `expectation.fewest`."""
        weight = self.alarm * (1 - self.prevalence) / (self.miss * self.prevalence)
        return expectation.fewest(weight)

    def outcomes(self, effect: Effect) -> tuple[str, ...]:
        """The alarms to expect, and what they and the misses cost."""
        return expectation.alarms(self.prevalence, effect), self._costs(effect)

    def answers(self) -> dict[str, float]:
        """The page asks how the prices compare, and not for both."""
        return super().answers() | {_RATIO.key: self.miss / self.alarm}

    @classmethod
    def answered(cls, answers: Mapping[str, float]) -> Self:
        """At a price of 1 for a false alarm."""
        prevalence = answers[expectation.CONTROL.key] / expectation.CONTROL.scale
        return cls(miss=answers[_RATIO.key], alarm=1, prevalence=prevalence)

    def _costs(self, effect: Effect) -> str:
        """What that costs, and what it would cost to flag nothing or everything."""
        stream = expectation.stream(self.prevalence)
        prices = self.miss, self.alarm, self.prevalence
        passing = (effect.id.share, effect.ood_share), (1, 1), (0, 0)
        here, nothing, everything = (
            _amount(stream * float(expected_cost(id_share, ood_share, *prices)))
            for id_share, ood_share in passing
        )
        return (
            f"That costs {here}, where accepting an unfamiliar image costs {_amount(self.miss)} "
            f"and flagging a familiar image {_amount(self.alarm)}; flagging nothing would cost "
            f"{nothing}, flagging everything {everything}."
        )


def _compared(miss: float, alarm: float) -> str:
    """Which of the two mistakes is worse, and how many times."""
    worse, other = "accepting an unfamiliar image", "flagging a familiar image"
    if miss < alarm:
        worse, other = other, worse
    ratio = max(miss, alarm) / min(miss, alarm)
    number = f"{ratio:,.0f}" if ratio >= 1000 else f"{ratio:.4g}"
    times = "" if number == "1" else f"{number} times "
    return f"{worse} being {times}as bad as {other}"


def _amount(cost: float) -> str:
    """Three figures of a cost, without an exponent where it is large."""
    if cost >= 100:
        return f"{cost:,.0f}"
    return np.format_float_positional(cost, precision=3, fractional=False, trim="-")
