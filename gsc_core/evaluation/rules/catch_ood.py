"""Catch a share of OOD images, whatever that costs of ID."""

from typing import ClassVar, Literal

from gsc_core.evaluation.conformal import smallest_calibration
from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.cutpoints import catch_ood
from gsc_core.evaluation.rules.base import Control, Evidence, Share, ThresholdRule
from gsc_core.evaluation.rules.keep_id import share_control


class CatchOod(ThresholdRule):
    """Flag a share of OOD images, each set weighing the same."""

    name: Literal["catch_ood"] = "catch_ood"
    share: Share

    title: ClassVar[str] = "Catch unfamiliar images"
    meaning: ClassVar[str] = (
        "The share of unfamiliar images you choose is flagged, however many familiar images that "
        "costs."
    )
    example: ClassVar[str] = "catch-ood:0.9"
    controls: ClassVar[tuple[Control, ...]] = (share_control("Share to catch"),)
    searched: ClassVar[bool] = False  # no calibration image is looked at

    def threshold(self, evidence: Evidence) -> float:
        """See `cutpoints.catch_ood`."""
        return catch_ood(evidence.ood, self.share)

    def words(self) -> str:
        """`catch 90 % of unfamiliar images`."""
        return f"catch {percent(self.share)} of unfamiliar images"

    def fewest(self) -> tuple[int, int]:
        """As many OOD images as it takes to promise the share; fewer flag every image."""
        return 0, smallest_calibration(self.share)
