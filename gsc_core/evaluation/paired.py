"""How sure a difference is: two detectors, or two settings of one, that judge the same images.

An image that is hard for one is mostly hard for the other, so their mistakes rise and fall
together and two intervals that overlap say little. Here the images are drawn once for all; each
detector is measured on every draw, and what is looked at is the difference within a draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsc_core.evaluation.intervals import (
    BLOCK,
    MEAN,
    Interval,
    Intervals,
    at_least,
    doubt_of_mean,
    draw,
    exact_doubt,
    summary,
    with_mean,
)
from gsc_core.evaluation.metrics import METRICS, Counts, Floats, checked, measure

COMPARED = ("fpr95", "auroc")


@dataclass(frozen=True, eq=False)
class Resampled:
    """A detector on the observed images and on every draw of them.

    values, spread: its metrics `[6]`, and those of the draws `[repeats, 6]`, by OOD set in the
    order of `METRICS`. accepted: by OOD set, which of its images `[M]` pass at the threshold that
    accepts 95 % of ID. known: number of ID images.
    """

    values: Mapping[str, Floats]
    spread: Mapping[str, Floats]
    accepted: Mapping[str, NDArray[np.bool_]]
    id_images: int

    def intervals(self, level: float = 0.95) -> Intervals:
        """The detector's own metrics, with the intervals of `intervals.evaluate`."""
        images = {name: len(of_set) for name, of_set in self.accepted.items()}
        return summary(self.values, self.spread, self.id_images, images, level)


class Resampling:
    """Bootstrap draws of images, the same for every detector that is measured on them.

    id_images, ood_images: how many ID images there are and how many of each OOD set. A draw takes
    as many of each with replacement; it depends on the seed and the set's name. Memory: 4 bytes an
    image and repeat.
    """

    def __init__(
        self, id_images: int, ood_images: Mapping[str, int], repeats: int = 1000, seed: int = 0
    ) -> None:
        self.id_draws = _drawn(id_images, repeats, seed, None)
        self.ood_draws = {name: _drawn(m, repeats, seed, name) for name, m in ood_images.items()}

    def measure(self, id_scores: ArrayLike, ood: Mapping[str, ArrayLike]) -> Resampled:
        """Measure a detector: outlier scores `[N]` of ID and `[M]` of each OOD set, higher = OOD.

        The scores of all detectors come in the same order of images. Raises GscError for scores
        that are empty or not finite.
        """
        id_checked = checked(id_scores, "familiar (ID)")
        ood_checked = {name: checked(ood[name], f'"{name}" (OOD)') for name in self.ood_draws}
        on_draws = {
            name: _on_draws(id_checked, self.id_draws, scores, self.ood_draws[name])
            for name, scores in ood_checked.items()
        }
        threshold = np.sort(id_checked)[
            -(-19 * len(id_checked) // 20) - 1
        ]  # the first with 95 % of ID
        return Resampled(
            values={name: rows[0] for name, rows in on_draws.items()},
            spread={name: rows[1:] for name, rows in on_draws.items()},
            accepted={name: scores <= threshold for name, scores in ood_checked.items()},
            id_images=len(id_checked),
        )


def difference(one: Resampled, other: Resampled, level: float = 0.95) -> Intervals:
    """`COMPARED` metrics of `one` less those of `other`, for each OOD set and their mean.

    Both were measured by one `Resampling`. The bounds are percentiles over the draws. The FPR's is
    never narrower than what is exact for the images on which the two disagree, which matters
    where few or none do; a detector differs from itself by nothing. AUROCs that are equal in every
    draw, as two perfect ones, keep an interval without width.
    """
    if one is other:
        nothing = Interval(0.0, 0.0, 0.0)
        return {name: dict.fromkeys(COMPARED, nothing) for name in [*one.values, MEAN]}
    values = with_mean({name: one.values[name] - other.values[name] for name in one.values})
    spread = with_mean({name: one.spread[name] - other.spread[name] for name in one.spread})
    doubt = _disagreement(one, other, level)
    return {name: _compared(values[name], spread[name], doubt[name], level) for name in values}


def _compared(values: Floats, spread: Floats, doubt: Floats, level: float) -> dict[str, Interval]:
    """Percentile intervals; that of the FPR reaches at least `doubt` `[2]` below and above."""
    tail = (1 - level) / 2
    low, high = np.quantile(spread, [tail, 1 - tail], axis=0)
    intervals = {}
    for metric in COMPARED:
        i = METRICS.index(metric)
        interval = Interval(float(values[i]), float(low[i]), float(high[i]))
        intervals[metric] = at_least(interval, *(doubt if metric == "fpr95" else (0, 0)))
    return intervals


def _disagreement(one: Resampled, other: Resampled, level: float) -> dict[str, Floats]:
    """How far `[2]` below and above a difference of FPRs its exact bounds lie, by OOD set and mean.

    A difference is the share that is accepted with `one` alone, less the share that is with `other`
    alone; the exact bounds of the two make those of the difference (Zou and Donner, 2008).
    """
    sets = list(one.accepted)
    images = [len(one.accepted[name]) for name in sets]
    pairs = [(one.accepted[name], other.accepted[name]) for name in sets]
    more = exact_doubt([float(np.mean(a & ~b)) for a, b in pairs], images, level)
    less = exact_doubt([float(np.mean(b & ~a)) for a, b in pairs], images, level)
    below, above = np.hypot(more[0], less[1]), np.hypot(more[1], less[0])
    by_set = {name: np.array(sides) for name, *sides in zip(sets, below, above, strict=True)}
    return by_set | {MEAN: np.array([doubt_of_mean(below), doubt_of_mean(above)])}


def _drawn(images: int, repeats: int, seed: int, name: str | None) -> NDArray[np.int32]:
    """How often each image is in a draw `[1 + repeats, images]`; the first is all of them, once."""
    once = np.ones((1, images), dtype=np.int64)
    return np.vstack([once, next(draw(once[0], [repeats], seed, name))]).astype(np.int32)


def _on_draws(
    id_scores: Floats, id_drawn: NDArray[np.int32], ood_scores: Floats, drawn: NDArray[np.int32]
) -> Floats:
    """Metrics `[1 + repeats, 6]` of scores `[N]` and `[M]` on the draws of their images."""
    ranks, rank = np.unique(np.concatenate([id_scores, ood_scores]), return_inverse=True)
    blocks = -(-len(drawn) * len(ranks) // BLOCK)
    metrics = []
    for rows in np.array_split(np.arange(len(drawn)), blocks):
        by_metric = measure(
            _on_ranks(id_drawn[rows], rank[: len(id_scores)], len(ranks)),
            _on_ranks(drawn[rows], rank[len(id_scores) :], len(ranks)),
        )
        metrics.append(np.stack([by_metric[metric] for metric in METRICS], axis=-1))
    return np.concatenate(metrics)


def _on_ranks(drawn: NDArray[np.int32], rank: NDArray[np.intp], ranks: int) -> Counts:
    """Counts `[B, ranks]` of the images `[B, N]` drawn, each added to the rank of its score."""
    order = np.argsort(rank, kind="stable")
    present, first = np.unique(rank[order], return_index=True)
    counts = np.zeros((len(drawn), ranks), dtype=np.int64)
    counts[:, present] = np.add.reduceat(drawn[:, order], first, axis=1, dtype=np.int64)
    return counts
