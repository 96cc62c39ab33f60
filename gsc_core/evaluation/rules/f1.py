"""The best F1: OOD images caught against alarms that are right."""

from typing import ClassVar, Literal

from gsc_core.evaluation.cutpoints import best_f1
from gsc_core.evaluation.effects import Effect
from gsc_core.evaluation.rules import expectation
from gsc_core.evaluation.rules.base import Control, Evidence, Share, ThresholdRule


class F1(ThresholdRule):
    """The best balance of catching OOD and of alarms that are right, at a share of OOD images."""

    name: Literal["f1"] = "f1"
    prevalence: Share = 0.5

    title: ClassVar[str] = "Best balance"
    meaning: ClassVar[str] = (
        "Many unfamiliar images are caught, and many of the flagged images are unfamiliar: the "
        "best of both together."
    )
    method: ClassVar[str] = "F1"
    example: ClassVar[str] = "f1:prevalence=0.1"
    controls: ClassVar[tuple[Control, ...]] = (expectation.CONTROL,)

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.best_f1`."""
        return best_f1(evidence.calibration, evidence.ood, self.prevalence)

    def words(self) -> str:
        """What it balances, and what is expected."""
        return (
            "best balance of unfamiliar images caught and correct alarms (F1), expecting "
            f"{expectation.words(self.prevalence)}"
        )

    def fewest(self) -> tuple[int, int]:
        """See `expectation.fewest`."""
        return expectation.fewest((1 - self.prevalence) / self.prevalence)

    def outcomes(self, effect: Effect) -> tuple[str, ...]:
        """The alarms to expect."""
        return (expectation.alarms(self.prevalence, effect),)
