"""Wilson's interval of a share: near the promised coverage on average, and never without width."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from gsc_core.evaluation.effects import LEVEL
from gsc_core.evaluation.metrics import Floats


def wilson(count: ArrayLike, total: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bounds of the shares of which `count` `[K]` of `total` `[K]` > 0 were seen (Wilson, 1927).

    The shares that a two-sided score test does not refuse. Its coverage swings around `level`; a
    bound that may never promise too much is Clopper and Pearson's (`effects.counted`).
    """
    k, n = np.asarray(count, dtype=np.float64), np.asarray(total, dtype=np.float64)
    square: Any = ndtri((1 + level) / 2) ** 2
    share = k / n
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = np.sqrt(square * (share * (1 - share) / n + square / (4 * n**2))) / (1 + square / n)
    low = np.where(k > 0, np.maximum(middle - half, 0.0), 0.0)
    high = np.where(k < n, np.minimum(middle + half, 1.0), 1.0)
    return low, high
