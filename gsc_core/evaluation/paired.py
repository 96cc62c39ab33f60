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
    known: int

    def intervals(self, level: float = 0.95) -> Intervals:
        """The detector's own metrics, with the intervals of `intervals.evaluate`."""
        images = {name: len(passes) for name, passes in self.accepted.items()}
        return summary(self.values, self.spread, self.known, images, level)


class Resampling:
    """Bootstrap draws of images, the same for every detector that is measured on them.

    known, unfamiliar images: how many ID images there are and how many of each OOD set. A draw
    takes as
    many of each with replacement; it depends on the seed and the set's name. Memory: 4 bytes an
    image and repeat.
    """

    def __init__(
        self, known: int, strangers: Mapping[str, int], repeats: int = 1000, seed: int = 0
    ) -> None:
        self.known = _drawn(known, repeats, seed, None)
        self.strangers = {name: _drawn(m, repeats, seed, name) for name, m in strangers.items()}

    def measure(self, id_scores: ArrayLike, ood: Mapping[str, ArrayLike]) -> Resampled:
        """Measure a detector: outlier scores `[N]` of ID and `[M]` of each OOD set, higher = OOD.

        The scores of all detectors come in the same order of images. Raises GscError for scores
        that are empty or not finite.
        """
        known = checked(id_scores, "familiar (ID)")
        strange = {name: checked(ood[name], f'"{name}" (OOD)') for name in self.strangers}
        found = {
            name: _on_draws(known, self.known, scores, self.strangers[name])
            for name, scores in strange.items()
        }
        threshold = np.sort(known)[-(-19 * len(known) // 20) - 1]  # the first with 95 % of ID
        return Resampled(
            values={name: rows[0] for name, rows in found.items()},
            spread={name: rows[1:] for name, rows in found.items()},
            accepted={name: scores <= threshold for name, scores in strange.items()},
            known=len(known),
        )


def difference(ours: Resampled, theirs: Resampled, level: float = 0.95) -> Intervals:
    """`COMPARED` metrics of `ours` less those of `theirs`, for each OOD set and their mean.

    Both were measured by one `Resampling`. The bounds are percentiles over the draws. The FPR's is
    never narrower than what is exact for the images on which the two disagree, which matters
    where few or none do; a detector differs from itself by nothing. AUROCs that are equal in every
    draw, as two perfect ones, keep an interval without width.
    """
    if ours is theirs:
        nothing = Interval(0.0, 0.0, 0.0)
        return {name: dict.fromkeys(COMPARED, nothing) for name in [*ours.values, MEAN]}
    values = with_mean({name: ours.values[name] - theirs.values[name] for name in ours.values})
    spread = with_mean({name: ours.spread[name] - theirs.spread[name] for name in ours.spread})
    doubt = _disagreement(ours, theirs, level)
    return {name: _compared(values[name], spread[name], doubt[name], level) for name in values}


def _compared(values: Floats, spread: Floats, doubt: Floats, level: float) -> dict[str, Interval]:
    """Percentile intervals; that of the FPR reaches at least `doubt` `[2]` below and above."""
    tail = (1 - level) / 2
    low, high = np.quantile(spread, [tail, 1 - tail], axis=0)
    found = {}
    for metric in COMPARED:
        i = METRICS.index(metric)
        interval = Interval(float(values[i]), float(low[i]), float(high[i]))
        found[metric] = at_least(interval, *(doubt if metric == "fpr95" else (0, 0)))
    return found


def _disagreement(ours: Resampled, theirs: Resampled, level: float) -> dict[str, Floats]:
    """How far `[2]` below and above a difference of FPRs its exact bounds lie, by OOD set and mean.

    A difference is the share that is accepted with ours alone, less the share that does with theirs
    alone; the exact bounds of the two make those of the difference (Zou and Donner, 2008).
    """
    sets = list(ours.accepted)
    images = [len(ours.accepted[name]) for name in sets]
    pairs = [(ours.accepted[name], theirs.accepted[name]) for name in sets]
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
    known: Floats, known_drawn: NDArray[np.int32], strange: Floats, drawn: NDArray[np.int32]
) -> Floats:
    """Metrics `[1 + repeats, 6]` of scores `[N]` and `[M]` on the draws of their images."""
    ranks, rank = np.unique(np.concatenate([known, strange]), return_inverse=True)
    blocks = -(-len(drawn) * len(ranks) // BLOCK)
    found = []
    for rows in np.array_split(np.arange(len(drawn)), blocks):
        by_metric = measure(
            _on_ranks(known_drawn[rows], rank[: len(known)], len(ranks)),
            _on_ranks(drawn[rows], rank[len(known) :], len(ranks)),
        )
        found.append(np.stack([by_metric[metric] for metric in METRICS], axis=-1))
    return np.concatenate(found)


def _on_ranks(drawn: NDArray[np.int32], rank: NDArray[np.intp], ranks: int) -> Counts:
    """Counts `[B, ranks]` of the images `[B, N]` drawn, each added to the rank of its score."""
    order = np.argsort(rank, kind="stable")
    present, first = np.unique(rank[order], return_index=True)
    counts = np.zeros((len(drawn), ranks), dtype=np.int64)
    counts[:, present] = np.add.reduceat(drawn[:, order], first, axis=1, dtype=np.int64)
    return counts
