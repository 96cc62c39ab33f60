"""Whether a network's outputs are logits, judged by their values.

The last operator says little: a softmax can be several steps before the end, or written by hand.
Values say little of few or much alike images, so what may be chance is not refused: outputs that
lie between 0 and 1 only where something after the last linear map may hold them there, and sums of
1 only where they are 1 far more closely than the outputs differ.
"""

from __future__ import annotations

from enum import Enum

from torch import Tensor

_ENOUGH_VALUES = 16  # logits of a few images may lie between 0 and 1 by chance
_ENOUGH_ROWS = 8
_ROUNDING = 1e-6
_SUM = 5e-3  # a softmax in half precision sums to 1 no better
_CLOSELY = 0.05  # of how far outputs differ between images
_SUM_ROUNDING = 1e-5


class Scale(Enum):
    """What outputs `[N,K]` are; the value ends a sentence that begins with their images."""

    LOGITS = "logits"
    PROBABILITIES = "outputs that are never negative and sum to the same for every image"
    UNIT = "outputs that all lie between 0 and 1"
    LOG_PROBABILITIES = "outputs whose exponentials sum to 1"


def scale_of(outputs: Tensor, *, bounded: bool) -> Scale:
    """What outputs `[N,K]` are by their values; what is not finite is left to other checks.

    bounded: whether something may hold them in a range, see `may_be_bounded`.
    """
    rows = outputs.double()
    rows = rows[rows.isfinite().all(dim=1)]
    if rows.shape[1] == 2 and not rows[:, 0].any():  # one logit, audited as 0 and z
        rows = rows[:, 1:]
    if not len(rows):
        return Scale.LOGITS
    many = rows.shape[1] > 1
    if bool(rows.min() >= -_ROUNDING):
        if many and _one_sum(rows, bounded):
            return Scale.PROBABILITIES
        within = bool(rows.max() <= 1 + _ROUNDING)
        if bounded and within and rows.numel() >= _ENOUGH_VALUES:
            return Scale.UNIT
    if many and bool(rows.max() <= _ROUNDING) and _are_one(rows.exp(), bounded):
        return Scale.LOG_PROBABILITIES
    return Scale.LOGITS


def probabilities_refused(scale: Scale, source: str, images: str) -> str:
    """The sentence for outputs that are not logits.

    >>> probabilities_refused(Scale.UNIT, "model.pt2", "noise").split(":")[0]
    'model.pt2 gives noise outputs that all lie between 0 and 1, which are not logits'
    """
    last = "sigmoid" if scale is Scale.UNIT else "softmax"
    return (
        f"{source} gives {images} {scale.value}, which are not logits: export or save the network "
        f"without its {last}, so that it gives the values before it."
    )


def _one_sum(rows: Tensor, bounded: bool) -> bool:
    """Whether all rows sum to 1, or, as percentages do, many different ones to one number."""
    if _are_one(rows, bounded):
        return True
    sums = rows.sum(dim=1)
    differ = bool((rows - rows[0]).abs().max() > 1e-3 * rows.abs().max())
    same = bool((sums - sums[0]).abs().max() <= 1e-4 * sums[0])
    return len(rows) >= _ENOUGH_ROWS and differ and same


def _are_one(rows: Tensor, bounded: bool) -> bool:
    """Whether rows sum to 1; where nothing bounds them, the more closely the less they differ."""
    differ = float((rows - rows[0]).abs().max())
    chance = max(_CLOSELY * differ, _SUM_ROUNDING)
    tolerance = _SUM if bounded else min(_SUM, chance)
    return bool(((rows.sum(dim=1) - 1).abs() <= tolerance).all())
