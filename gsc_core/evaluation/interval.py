"""A figure with its bounds, and the exact bounds of a share, of which others are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from gsc_core.evaluation.metrics import Floats

MEAN = "mean"
"""Name of the entry that averages over the OOD sets."""


@dataclass(frozen=True)
class Interval:
    """A figure measured on all images, and the bounds of its interval."""

    value: float
    low: float
    high: float


def least_share(count: ArrayLike, total: ArrayLike, chance: ArrayLike) -> Floats:
    """The least share that shows `count` or more of `total` images with this chance.

    The lower bound of Clopper and Pearson (1934), exact for any count; 0 where nothing was counted.
    Counts may be fractions, of an effective number of images. Arguments are broadcast.
    """
    k, n = np.asarray(count, dtype=np.float64), np.asarray(total, dtype=np.float64)
    # No count has no lower bound but 0: the formula has none.
    low = betaincinv(np.where(k > 0, k, 1), n - k + 1, chance)
    return np.asarray(np.where(k > 0, low, 0.0), dtype=np.float64)


def most_share(count: ArrayLike, total: ArrayLike, chance: ArrayLike) -> Floats:
    """The greatest share that shows `count` or fewer with this chance, see `least_share`."""
    k, n = np.asarray(count, dtype=np.float64), np.asarray(total, dtype=np.float64)
    return np.asarray(1 - least_share(n - k, n, chance), dtype=np.float64)


def exact_doubt(
    shares: Sequence[float], images: Sequence[int], level: float
) -> tuple[Floats, Floats]:
    """How far the exact bounds of shares `[K]` of so many images lie below and above them."""
    share, total, tail = np.asarray(shares), np.asarray(images), (1 - level) / 2
    count = np.rint(share * total)
    return share - least_share(count, total, tail), most_share(count, total, tail) - share


def doubt_of_mean(doubt: Floats) -> float:
    """The doubt of a mean of independent shares, whose own are `[K]` (Zou and Donner, 2008)."""
    return float(np.linalg.norm(doubt)) / len(doubt)


def at_least(interval: Interval, below: float, above: float) -> Interval:
    """The interval, widened where it reaches less far from its value than these."""
    value = interval.value
    return replace(
        interval,
        low=min(interval.low, float(value - below)),
        high=max(interval.high, float(value + above)),
    )
