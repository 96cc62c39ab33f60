"""How sure the metrics are: a stratified bootstrap over ID images and each OOD set.

Every metric depends on ranks alone, so a replicate needs no scores: it is one multinomial draw
of how often each rank was picked, and `metrics.measure` reads a whole block of draws at once.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from gsc_core.errors import GscError
from gsc_core.evaluation.metrics import METRICS, Counts, Floats, checked, measure, tally

CELLS = 8192
"""Most distinct ranks a replicate works on; more are grouped, see `evaluate`."""

MEAN = "mean"
"""Name of the entry that averages over the OOD sets."""

BLOCK = 1 << 18
"""Cells (replicates x ranks) held at once: a few MB an array, which stays in the cache."""


@dataclass(frozen=True)
class Interval:
    """A metric measured on all images, and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


Intervals = dict[str, dict[str, Interval]]
"""Of each OOD set and of `"mean"`, by metric."""


def evaluate(
    id_scores: ArrayLike,
    ood: Mapping[str, ArrayLike],
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """All metrics of one detector with percentile intervals, for each OOD set and their mean.

    `id_scores` `[N]` and each `ood[name]` `[M]` are outlier scores, higher = more OOD. A replicate
    draws N ID images and M images of each set with replacement; its ID draw is the same for all
    sets, so the interval of `"mean"` counts that shared uncertainty once. The draws of a set
    depend on the seed and its name only, not on which other sets there are.

    Values are exact. Above `CELLS` distinct scores the replicates work on cells of neighbouring
    ranks that hold at most 1 / (CELLS / groups) of the ID or of any OOD set (groups = sets + 1),
    unless one tied score holds more. A replicate's FPR then moves by the content of a cell, about
    0.06 points with four sets; that shift is the same before and after resampling, so its mean is
    measured on the observed counts and taken off. The sampling error itself is larger: 0.35
    points at 20,000 images.

    Rare events resample too narrowly, and those that never happened to no doubt at all. So the
    interval of an FPR is never narrower than the exact binomial one for so many images, nor that of
    the mean FPR than what these make of a mean: none of 200 unfamiliar images accepted still allows
    1.8 %, and half of that beside a set of which all are. The other metrics have no such bound: a
    perfect AUROC keeps an interval without width.

    Raises GscError for empty or non-finite scores, no OOD set, a set named "mean", fewer than two
    repeats or a level outside 0..1.
    """
    if not ood or MEAN in ood:
        raise GscError('Give at least one OOD set, and none of them named "mean".')
    if repeats < 2 or not 0 < level < 1:
        raise GscError("An interval needs at least 2 repeats and a level between 0 and 1.")
    id_checked = checked(id_scores, "familiar (ID)")
    ood_checked = {name: checked(scores, f'"{name}" (OOD)') for name, scores in ood.items()}

    values = {name: _stack(*tally(id_checked, scores)[1:]) for name, scores in ood_checked.items()}
    id_counts, ood_counts = _on_shared_ranks(id_checked, ood_checked)
    spread = _replicates(id_counts, ood_counts, repeats, seed)
    for name, counts in ood_counts.items():
        spread[name] += values[name] - _stack(id_counts, counts)

    images = {name: len(scores) for name, scores in ood_checked.items()}
    return summary(values, spread, len(id_checked), images, level)


def summary(
    values: Mapping[str, Floats],
    spread: Mapping[str, Floats],
    id_images: int,
    ood_images: Mapping[str, int],
    level: float,
) -> Intervals:
    """Intervals from the metrics `[6]` of each OOD set and from its replicates `[repeats, 6]`.

    `id_images` and `unfamiliar images` are numbers of images; see `evaluate`.
    """
    values, spread, sets = with_mean(values), with_mean(spread), list(values)
    intervals = {name: _percentiles(values[name], spread[name], level) for name in values}
    # Unfamiliar images of different sets are different images; the familiar ones are the same for
    # all.
    per_ood, per_id = [ood_images[name] for name in sets], [id_images] * len(sets)
    for metric, images, of_mean in (
        ("fpr95", per_ood, doubt_of_mean),
        ("fpr95_ood_positive", per_id, np.mean),
    ):
        doubt = exact_doubt([intervals[name][metric].value for name in sets], images, level)
        for name, below, above in zip(sets, *doubt, strict=True):
            intervals[name][metric] = at_least(intervals[name][metric], below, above)
        below, above = (float(of_mean(side)) for side in doubt)
        intervals[MEAN][metric] = at_least(intervals[MEAN][metric], below, above)
    return intervals


def with_mean(by_set: Mapping[str, Floats]) -> dict[str, Floats]:
    """An array for each OOD set, and their mean, in which each set weighs the same."""
    return {**by_set, MEAN: np.mean(list(by_set.values()), axis=0)}


def exact_doubt(
    shares: Sequence[float], images: Sequence[int], level: float
) -> tuple[Floats, Floats]:
    """How far the exact bounds of shares `[K]` of so many images lie below and above them.

    The bounds are those of Clopper and Pearson (1934), right for any count, none and all included.
    """
    share, total, tail = np.asarray(shares), np.asarray(images), (1 - level) / 2
    count = np.rint(share * total)
    # No count has no lower bound but 0, a full one no upper bound but 1: the formula has neither.
    low = betaincinv(np.maximum(count, 1), total - count + 1, tail)
    high = betaincinv(count + 1, np.maximum(total - count, 1), 1 - tail)
    below, above = np.where(count > 0, share - low, 0), np.where(count < total, high - share, 0)
    return below, above


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


def _replicates(
    id_counts: Counts, ood_counts: Mapping[str, Counts], repeats: int, seed: int
) -> dict[str, Floats]:
    """Metrics `[repeats, 6]` of each OOD set, with one ID draw for all sets in a replicate."""
    size = max(1, BLOCK // len(id_counts))
    sizes = [min(size, repeats - start) for start in range(0, repeats, size)]
    # Generators, so that one block of draws is alive at a time.
    draws = {name: draw(counts, sizes, seed, name) for name, counts in ood_counts.items()}
    metrics_by_set: dict[str, list[Floats]] = {name: [] for name in ood_counts}
    for id_draw in draw(id_counts, sizes, seed, None):
        for name, ood_draw in draws.items():
            metrics_by_set[name].append(_stack(id_draw, next(ood_draw)))
    return {name: np.concatenate(blocks) for name, blocks in metrics_by_set.items()}


def draw(counts: Counts, sizes: list[int], seed: int, name: str | None) -> Iterator[Counts]:
    """Blocks `[size, U]` of bootstrap counts: as many images as `counts` `[U]`, drawn from them.

    The stream depends on the seed and the name (None is ID), and not on the block sizes.
    """
    stream = [seed, 0] if name is None else [seed, 1, zlib.crc32(name.encode())]
    generator = np.random.default_rng(stream)
    present = np.flatnonzero(counts)
    total = counts.sum()
    for size in sizes:
        block = np.zeros((size, len(counts)), dtype=np.int64)
        block[:, present] = generator.multinomial(total, counts[present] / total, size=size)
        yield block


def _on_shared_ranks(
    id_scores: Floats, ood: Mapping[str, Floats]
) -> tuple[Counts, dict[str, Counts]]:
    """Counts of ID and of each OOD set along the same rising ranks, at most about `CELLS`."""
    groups = [id_scores, *ood.values()]
    edges = np.unique(np.concatenate(groups))
    if len(edges) > CELLS:
        shares = np.linspace(0, 1, CELLS // len(groups) + 1)[1:]
        # The upper end of a cell is a score that exists: ties are never split.
        ends = [np.quantile(group, shares, method="inverted_cdf") for group in groups]
        edges = np.unique(np.concatenate(ends))
    count = [np.bincount(np.searchsorted(edges, g), minlength=len(edges)) for g in groups]
    return count[0], dict(zip(ood, count[1:], strict=True))


def _stack(id_counts: Counts, ood_counts: Counts) -> Floats:
    """The metrics of `measure` as `[..., 6]`, in the order of `METRICS`."""
    metrics = measure(id_counts, ood_counts)
    return np.stack([metrics[name] for name in METRICS], axis=-1)


def _percentiles(values: Floats, spread: Floats, level: float) -> dict[str, Interval]:
    """Percentile intervals of `spread` `[repeats, 6]` around `values` `[6]`."""
    tail = (1 - level) / 2
    low, high = np.quantile(np.clip(spread, 0, 1), [tail, 1 - tail], axis=0)
    return {
        name: Interval(float(values[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(METRICS)
    }
