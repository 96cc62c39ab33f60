"""Scores to shares in bins, the same bins for several sets."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gsc_core.evaluation.metrics import Floats


def shared_edges(sets: Iterable[Floats], bins: int) -> Floats:
    """Even edges `[bins + 1]` over the middle 99 % of the sets, each set weighing the same."""
    steps = np.linspace(0, 1, 401)
    pooled = np.concatenate([np.quantile(scores, steps) for scores in sets])
    low, high = np.quantile(pooled, [0.005, 0.995])
    if not high > low:
        low, high = pooled.min(), pooled.max()
    if not high > low:
        margin = max(abs(low), 1.0) / 2
        low, high = low - margin, high + margin
    return np.linspace(low, high, bins + 1)


def shares(scores: Floats, edges: Floats) -> NDArray[np.float32]:
    """Share of `scores` in each bin `[bins]`; the outermost bins take all that lies beyond."""
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    share: NDArray[np.float32] = (counts / len(scores)).astype(np.float32)
    return share
