"""Intervals of the figures that a policy limits, where the audit has stored none."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from gsc_core.evaluation.effects import LEVEL, Acceptance
from gsc_core.evaluation.interval import Interval, doubt_of_mean, exact_doubt

_STEP = 1e-9


def mean_share(sets: Sequence[Acceptance]) -> Interval:
    """The mean of independent shares, each weighing the same, from their exact bounds.

    How far it may lie off is put together from how far each may (Zou and Donner, 2008).
    """
    shares = [acceptance.share for acceptance in sets]
    value = float(np.mean(shares))
    below, above = exact_doubt(shares, [acceptance.total for acceptance in sets], LEVEL)
    return Interval(
        value, max(0, value - doubt_of_mean(below)), min(1, value + doubt_of_mean(above))
    )


def lost(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """The share that is right `before` `[N]` less the share that is right `after`, N > 0.

    Both are about the same images, so only those on which they differ count. The bounds are the
    score interval for a paired difference (Tango, 1998): the differences that a two-sided test
    does not refuse. It has a width even when nothing differs.
    """
    n = len(before)
    worse = int(np.count_nonzero(before & ~after))
    better = int(np.count_nonzero(after & ~before))
    value = (worse - better) / n
    z = float(ndtri((1 + LEVEL) / 2))

    def excess(difference: float, side: float) -> float:
        """Observed less supposed, beyond `side` standard errors of what is supposed."""
        b = (2 * n - worse + better) * difference - worse - better
        c = -better * difference * (1 - difference)
        gained = (math.sqrt(max(0, b * b - 8 * n * c)) - b) / (4 * n)  # most likely share
        variance = max(0, n * (2 * gained + difference * (1 - difference)))
        return worse - better - n * difference - side * math.sqrt(variance)

    # A step aside of the observed, where both sides are zero when no image differs.
    low = brentq(excess, -1, value - _STEP, args=(z,)) if value > -1 else -1.0
    high = brentq(excess, value + _STEP, 1, args=(-z,)) if value < 1 else 1.0
    return Interval(value, float(low), float(high))
