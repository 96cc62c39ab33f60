"""The widest gap between the share of ID that is accepted and the share of OOD that does."""

from typing import ClassVar, Literal

from gsc_core.evaluation.cutpoints import youden
from gsc_core.evaluation.rules.base import Evidence, ThresholdRule


class Youden(ThresholdRule):
    """The largest gap between ID and OOD accepted (Youden, 1950), each set weighing the same."""

    name: Literal["youden"] = "youden"

    title: ClassVar[str] = "Widest gap"
    meaning: ClassVar[str] = (
        "The share of familiar images accepted lies as far as possible above that of unfamiliar "
        "images."
    )
    method: ClassVar[str] = "Youden's index"
    example: ClassVar[str] = "youden"

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.youden`."""
        return youden(evidence.calibration, evidence.ood)

    def words(self) -> str:
        """What it looks for."""
        return "widest gap between familiar and unfamiliar images"
