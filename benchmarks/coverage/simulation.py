"""How often an interval misses the truth below and above, and how wide it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.coverage.population import Population
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats

Method = Callable[[Floats, Floats], Mapping[str, Interval]]
"""From scores of ID `[N]` and OOD `[M]` to the intervals of some metrics."""


@dataclass(frozen=True)
class Coverage:
    """Shares of repeats. above: the whole interval lies above the truth; below likewise."""

    above: float
    below: float
    width: float

    @property
    def held(self) -> float:
        """How often the truth is in the interval."""
        return 1 - self.above - self.below


def coverage(
    drawn: Population, method: Method, *, n: int, m: int, repeats: int, seed: int = 0
) -> dict[str, Coverage]:
    """Of each metric's interval of n ID and m OOD images, over samples that the seed draws."""
    rng, truth = np.random.default_rng(seed), drawn.truth(n, m)
    rows = [method(*drawn.draw(rng, n, m)) for _ in range(repeats)]
    return {metric: against([row[metric] for row in rows], truth[metric]) for metric in rows[0]}


def against(intervals: Sequence[Interval], truth: float) -> Coverage:
    """How often these hold the truth."""
    low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("low", "high"))
    rounding = 1e-9
    return Coverage(
        above=float(np.mean(low > truth + rounding)),
        below=float(np.mean(high < truth - rounding)),
        width=float(np.mean(high - low)),
    )


@dataclass(frozen=True)
class Cell:
    """A method on one population (its shape, levels and true AUROC) and numbers of images."""

    metric: str
    method: str
    shape: str
    levels: int | None
    truth: float
    n: int
    m: int
    found: Coverage
