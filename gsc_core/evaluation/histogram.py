"""Scores to shares in bins, the same bins for several sets.

A score that is a rank among familiar images puts most unfamiliar ones into the last bin and spreads
the familiar ones evenly, so that neither shows. By the log-odds of the rank both do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from gsc_core.evaluation.arrays import AsList
from gsc_core.evaluation.metrics import Floats

SmallFloats = Annotated[NDArray[np.float32], AsList(np.float32)]

BINS, MAX_BINS = 60, 200
MAX_VALUES = 4000
"""Most values that a figure carries over all its bars or lines, which keeps it under 50 kB."""
FEWER = 3  # times as few bins for ranks, of which many are tied
CROWDED = 0.25  # share of a set in one bin, from which on even bins between 0 and 1 hide the rest


@dataclass(frozen=True)
class ScoreAxis:
    """The bins of several sets of scores, and where a score lies on the axis of their histogram.

    edges: even places `[bins + 1]`. by_log_odds: the place of a score between 0 and 1 is its
    log-odds; otherwise it is the score itself.
    """

    edges: Floats
    by_log_odds: bool = False

    def __post_init__(self) -> None:
        self.edges.flags.writeable = False  # several figures draw on one axis

    @classmethod
    def of(cls, sets: Sequence[Floats], bins: int) -> "ScoreAxis":
        """Even bins over the middle 99 % of the sets; by log-odds where the scores are ranks.

        That is decided from the data: all scores lie between 0 and 1, and a quarter of a set or
        more would fall into one even bin.
        """
        linear = cls(shared_edges(sets, bins))
        within = all(scores.min() >= 0 and scores.max() <= 1 for scores in sets)
        if not within or max(linear.shares(scores).max() for scores in sets) < CROWDED:
            return linear
        inner = np.concatenate([scores[(scores > 0) & (scores < 1)] for scores in sets])
        if not inner.size:
            return linear
        end = min(inner.min(), 1 - inner.max()) / 2  # 0 and 1 stand beside all others
        places = [logit(scores.clip(end, 1 - end)) for scores in sets]
        return cls(shared_edges(places, max(4, bins // FEWER)), by_log_odds=True)

    def place(self, scores: ArrayLike) -> Floats:
        """Where scores lie on the axis, those beyond its ends at its ends."""
        values = np.asarray(scores, dtype=np.float64)
        if self.by_log_odds:
            values = logit(values.clip(0, 1))
        return values.clip(self.edges[0], self.edges[-1])

    def score(self, place: ArrayLike) -> Floats:
        """The scores that lie at these places."""
        places = np.asarray(place, dtype=np.float64)
        return np.asarray(expit(places)) if self.by_log_odds else places

    def shares(self, scores: Floats) -> SmallFloats:
        """Share of the scores in each bin; the outermost bins take all that lies beyond."""
        return shares(self.place(scores), self.edges)

    @property
    def centres(self) -> Floats:
        """The middle of each bin, as a place."""
        return (self.edges[:-1] + self.edges[1:]) / 2


@dataclass(frozen=True)
class Histograms:
    """Several sets in bins that all share; `heights` `[bins]` are shares of a set's images."""

    axis: ScoreAxis
    heights: Mapping[str, SmallFloats]

    @classmethod
    def of(cls, scores_by_set: Mapping[str, ArrayLike], bins: int = BINS) -> "Histograms":
        """Of ID images and OOD sets; with many sets in fewer bins, so that a figure stays small."""
        sets = {name: np.asarray(one, dtype=np.float64) for name, one in scores_by_set.items()}
        rows = max(1, len(sets) - 1)
        axis = ScoreAxis.of(
            list(sets.values()), max(4, min(bins, MAX_BINS, MAX_VALUES // (2 * rows)))
        )
        return cls(axis, {name: axis.shares(scores) for name, scores in sets.items()})


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


def shares(scores: Floats, edges: Floats) -> SmallFloats:
    """Share of `scores` in each bin `[bins]`; the outermost bins take all that lies beyond."""
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    share: SmallFloats = (counts / len(scores)).astype(np.float32)
    return share
