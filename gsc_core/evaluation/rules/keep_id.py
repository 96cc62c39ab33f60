"""Keep a share of ID images: the conformal quantile of the calibration scores."""

from typing import ClassVar, Literal

from gsc_core.evaluation.conformal import keep_id
from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.rules.base import Control, Evidence, Share, ThresholdRule


def share_control(label: str) -> Control:
    """Asks for a share in percent."""
    return Control(
        field="share",
        key="share",
        label=label,
        scale=100,
        low=50.0,
        high=99.9,
        step=0.1,
        start=95.0,
        slider=True,
        format="%.1f %%",
    )


class KeepId(ThresholdRule):
    """Let a share of ID images through; needs calibration scores alone."""

    name: Literal["keep_id"] = "keep_id"
    share: Share

    title: ClassVar[str] = "Accept familiar images"
    meaning: ClassVar[str] = (
        "The share of familiar images you choose is accepted; only calibration images set this "
        "threshold."
    )
    method: ClassVar[str] = "the conformal quantile of the calibration scores"
    example: ClassVar[str] = "keep-id:0.95"
    controls: ClassVar[tuple[Control, ...]] = (share_control("Share to accept"),)
    needs_ood: ClassVar[bool] = False
    searched: ClassVar[bool] = False  # a rank, fixed before any score is seen

    def threshold(self, evidence: Evidence) -> float:
        """See `conformal.keep_id`."""
        return keep_id(evidence.calibration, self.share)

    def words(self) -> str:
        """`keep 95 % of familiar images`."""
        return f"accept {percent(self.share)} of familiar images"

    @property
    def promised(self) -> float:
        """The share itself."""
        return self.share

    def fewest(self) -> tuple[int, int]:
        """None: no OOD image is weighed, and what calibration lacks has a warning of its own."""
        return 0, 0
