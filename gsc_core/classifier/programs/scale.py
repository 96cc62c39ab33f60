"""Whether a network's outputs are logits, judged by their values alone.

The last operator says little: a softmax can be several steps before the end, or written by hand.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

_ENOUGH_VALUES = 16  # logits of a few images may lie between 0 and 1 by chance
_ENOUGH_ROWS = 8
_ROUNDING = 1e-6
_SUM = 5e-3  # a softmax in half precision sums to 1 no better


class Scale(Enum):
    """What outputs `[N,K]` are; the value ends a sentence that begins with their images."""

    LOGITS = "logits"
    PROBABILITIES = "outputs that are never negative and sum to the same for every image"
    UNIT = "outputs that all lie between 0 and 1"
    LOG_PROBABILITIES = "outputs whose exponentials sum to 1"


def scale_of(outputs: Tensor) -> Scale:
    """What outputs `[N,K]` are by their values; what is not finite is left to other checks."""
    rows = outputs.double()
    rows = rows[rows.isfinite().all(dim=1)]
    if rows.shape[1] == 2 and not rows[:, 0].any():  # one logit, audited as 0 and z
        rows = rows[:, 1:]
    if not len(rows):
        return Scale.LOGITS
    many = rows.shape[1] > 1
    if bool(rows.min() >= -_ROUNDING):
        if many and _one_sum(rows):
            return Scale.PROBABILITIES
        if bool(rows.max() <= 1 + _ROUNDING) and rows.numel() >= _ENOUGH_VALUES:
            return Scale.UNIT
    if many and bool(rows.max() <= _ROUNDING) and _is_one(rows.exp().sum(dim=1)):
        return Scale.LOG_PROBABILITIES
    return Scale.LOGITS


def probabilities_refused(scale: Scale, source: str, images: str) -> str:
    """The sentence for outputs that are no logits.

    >>> probabilities_refused(Scale.UNIT, "model.pt2", "noise").split(":")[0]
    'model.pt2 gives noise outputs that all lie between 0 and 1, which are no logits'
    """
    last = "sigmoid" if scale is Scale.UNIT else "softmax"
    return (
        f"{source} gives {images} {scale.value}, which are no logits: export or save the network "
        f"without its {last}, so that it gives the values before it."
    )


def _one_sum(rows: Tensor) -> bool:
    """Whether all rows sum to 1, or, as percentages do, many different ones to one number."""
    sums = rows.sum(dim=1)
    if _is_one(sums):
        return True
    differ = bool((rows - rows[0]).abs().max() > 1e-3 * rows.abs().max())
    same = bool((sums - sums[0]).abs().max() <= 1e-4 * sums[0])
    return len(rows) >= _ENOUGH_ROWS and differ and same


def _is_one(sums: Tensor) -> bool:
    return bool(torch.isclose(sums, torch.ones_like(sums), rtol=0, atol=_SUM).all())
