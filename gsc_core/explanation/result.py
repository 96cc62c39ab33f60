"""What an explanation of one image says."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict


class Usual(NamedTuple):
    """The 5th, 50th and 95th percentile of a channel on familiar calibration images."""

    low: float
    median: float
    high: float


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ClassShare(_Frozen):
    """A class with its softmax share, 0 to 1."""

    index: int
    name: str | None
    share: float


class ChannelReading(_Frozen):
    """One channel on this image, beside its usual range (None where none was kept).

    `positions` is the share of its positions that were short-circuited (all or none when whole
    channels are), `removed` what that took from the predicted logit, to first order.
    """

    index: int
    rank: int
    activation: float
    gradient: float
    contribution: float
    positions: float
    removed: float
    normal_activation: Usual | None = None
    normal_gradient: Usual | None = None
    normal_contribution: Usual | None = None

    @property
    def short_circuited(self) -> bool:
        """Whether any of it was."""
        return self.positions > 0


class DepthReading(_Frozen):
    """How unusual an image is at one depth of the network, the end of a stage.

    `percentile`: the share of calibration images, 0 to 100, that are at most as far from the
    others there. `weight`: how much this depth counts in the score of `layers`, 0 to 1.
    """

    layer: str
    percentile: float
    weight: float


class Explanation(_Frozen):
    """What the short-circuit does to one image.

    Attributes:
        before, after: the five likeliest classes, before and after.
        logit_before, logit_after: of the class that was predicted before.
        confidence_before, confidence_after: softmax share of that same class.
        update: `first_order` or `exact`, how `after` was found.
        same_for_class: the selection does not look at the image: it is the same for every image of
            the predicted class (`gradient` at a linear head) or for all images (`random`).
        channels: the leading ones; `channel_count` is how many there are, `channels_touched` how
            many were short-circuited somewhere.
        short_circuited_share: of all coordinates of the feature.
        removed: what was taken from the predicted logit in all, to first order.
        heat: `[h][w]`, 0 to 1: where on the map what was taken spoke for the prediction, 1 the most
            it did anywhere. None with the reason in `no_heat`.
    """

    detector: str
    settings: dict[str, Any]
    split: str
    update: str
    same_for_class: bool
    before: tuple[ClassShare, ...]
    after: tuple[ClassShare, ...]
    logit_before: float
    logit_after: float
    confidence_before: float
    confidence_after: float
    channels: tuple[ChannelReading, ...]
    channel_count: int
    channels_touched: int
    short_circuited_share: float
    removed: float
    heat: tuple[tuple[float, ...], ...] | None
    no_heat: str | None
