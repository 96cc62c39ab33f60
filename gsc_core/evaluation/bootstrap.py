"""How sure average precision and the detection error are: a bootstrap, corrected for few images.

Each metric depends on ranks alone, so a replicate needs no scores: it is one draw of how much each
rank weighs. Weights are those of Rubin's Bayesian bootstrap (1981), gamma variates that need no
whole numbers. Two things are corrected:

- The images to be feared are those not seen: a bootstrap of perfectly separated images has no
  doubt. At the bad end an unseen image is counted in, an ID image above all others or an OOD image
  below all; the kind that has fewer images has more of it. So n perfectly separated images of a
  kind show no more than they would of a share, Clopper and Pearson's bound of none among n.
- These metrics flatter themselves when resampled, as average precision does by images that are
  drawn twice. The sample flatters the truth as much as a replicate flatters the sample, so both are
  taken off, on a logit scale.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, gammaincinv, logit

from gsc_core.evaluation.interval import MEAN, Interval
from gsc_core.evaluation.metrics import Counts, Floats, measure, tally

CELLS = 8192
"""Most distinct ranks a replicate works on; more are grouped, see `ranked`."""

BLOCK = 1 << 15
"""Cells (replicates x ranks) held at once: 256 kB an array, so that all stay in the cache."""

BOOTSTRAPPED = ("aupr_in", "aupr_out", "detection_error")
"""In the order of the last axis of every array here."""


_MOST = np.array([1.0, 1.0, 0.5])
"""The largest that each metric can be: no more than half is wrong at the best threshold."""
_LOW_IS_GOOD = np.array([False, False, True])
_FLATTERED = np.array([[2, 2, 1], [2, 2, 0]])
"""How often the flattery is taken off each end, the replicates' and the sample's: of the detection
error's good end only the replicates', and its bad end has none, see `_handicap`."""
_NONE = np.zeros((1, 1))
_KOLMOGOROV = 0.828  # of the largest difference, its median
_END = 1e-9  # of a share, where its logit is cut


@dataclass(frozen=True, eq=False)
class _Draw:
    """Weights of images in a block of replicates.

    by_rank: `[size, U]`, of the images that have each rank; a row adds up to 1. total: `[size]`,
    what it added up to before. chance: `[size]` in 0..1, how much an unseen image weighs.
    """

    by_rank: Floats
    total: Floats
    chance: Floats

    def unseen(self, part: float) -> Floats:
        """What `part` of an unseen image weighs, as a share `[size, 1]` of it and those seen."""
        weight = gammaincinv(part, self.chance)
        return np.asarray((weight / (weight + self.total))[:, None], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Replicates:
    """Metrics `[repeats, 3]` of weighted images, and with an unseen one at its worst or best."""

    plain: Floats
    worse: Floats
    better: Floats

    @classmethod
    def mean(cls, by_set: Collection["_Replicates"]) -> "_Replicates":
        """Of the same replicates of each OOD set."""
        return cls(
            _mean([one.plain for one in by_set]),
            _mean([one.worse for one in by_set]),
            _mean([one.better for one in by_set]),
        )


def intervals(
    id_scores: Floats, ood: Mapping[str, Floats], repeats: int, seed: int, level: float
) -> dict[str, dict[str, Interval]]:
    """`BOOTSTRAPPED` metrics of each OOD set and of their mean, of outlier scores `[N]` and `[M]`.

    A replicate's ID weights are the same for all sets, so the mean counts their doubt once. The
    weights of a set depend on the seed and its name only, not on which other sets there are.

    Values are exact. Above `CELLS` distinct scores the replicates work on cells of neighbouring
    ranks that hold at most 1 / (CELLS / groups) of the ID or of any OOD set (groups = sets + 1),
    unless one tied score holds more; the shift that this brings is taken off.
    """
    values = {name: _exact(id_scores, scores) for name, scores in ood.items()}
    id_counts, ood_counts = on_shared_ranks(id_scores, ood)
    grouped = {name: _observed(id_counts, counts) for name, counts in ood_counts.items()}
    replicates = _replicates(id_counts, ood_counts, repeats, seed)

    values[MEAN], grouped[MEAN] = _mean(values.values()), _mean(grouped.values())
    replicates[MEAN] = _Replicates.mean(replicates.values())
    return {name: _mended(values[name], grouped[name], replicates[name], level) for name in values}


def _mended(
    values: Floats, grouped: Floats, replicates: _Replicates, level: float
) -> dict[str, Interval]:
    """The intervals of metrics `[3]` whose replicates are of `grouped` ranks, see above."""
    tail = (1 - level) / 2
    better, worse = (
        # Of few draws too, as many lie beyond on average as the level says.
        np.quantile(drawn, [tail, 1 - tail], axis=0, method="weibull")
        for drawn in (replicates.better, replicates.worse)
    )
    ends = np.where(_LOW_IS_GOOD, [better[0], worse[1]], [worse[0], better[1]])
    bias = _logit(replicates.plain.mean(axis=0)) - _logit(grouped)
    aside = _logit(ends) - _logit(grouped) - _FLATTERED * bias
    within = (values > 0) & (values < _MOST)  # else nothing is flattered
    # Clipped because of rounding; zero is added to take the sign off −0.0.
    low, high = np.clip(np.where(within, expit(_logit(values) + aside), ends), 0, _MOST) + 0.0
    return {
        name: Interval(float(value), float(min(least, value)), float(max(most, value)))
        for name, value, least, most in zip(BOOTSTRAPPED, values, low, high, strict=True)
    }


def _replicates(
    id_counts: Counts, ood_counts: Mapping[str, Counts], repeats: int, seed: int
) -> dict[str, _Replicates]:
    """Metrics of each OOD set, with one draw of ID weights for all sets in a replicate."""
    size = max(1, BLOCK // len(id_counts))
    sizes = [min(size, repeats - start) for start in range(0, repeats, size)]
    # Generators, so that one block of draws is alive at a time.
    draws = {name: draw(counts, sizes, seed, name) for name, counts in ood_counts.items()}
    blocks: dict[str, list[tuple[Floats, Floats, Floats]]] = {name: [] for name in ood_counts}
    handicaps = {name: _handicap(id_counts, counts) for name, counts in ood_counts.items()}
    n = int(id_counts.sum())
    for of_id in draw(id_counts, sizes, seed, None):
        accepted_id = np.cumsum(of_id.by_rank, axis=-1)
        for name, of_set in draws.items():
            of_ood, m = next(of_set), int(ood_counts[name].sum())
            at = _Weighted(of_id.by_rank, of_ood.by_rank, accepted_id, m / n, handicaps[name])
            unseen = of_id.unseen(m / (n + m)), of_ood.unseen(n / (n + m))
            worse, better = (at.measure(*unseen, worst=bad) for bad in (True, False))
            blocks[name].append((at.measure(), worse, better))
    return {
        name: _Replicates(*map(np.concatenate, zip(*of_set, strict=True)))
        for name, of_set in blocks.items()
    }


def draw(counts: Counts, sizes: list[int], seed: int, name: str | None) -> Iterator[_Draw]:
    """Blocks of weights of the images that `counts` `[U]` counts.

    The stream depends on the seed and the name (None is ID), and not on the block sizes.
    """
    stream = [seed, 0] if name is None else [seed, 1, zlib.crc32(name.encode())]
    generator, unseen = (np.random.default_rng([*stream, part]) for part in (0, 1))
    present = np.flatnonzero(counts)
    for size in sizes:
        weights = generator.standard_gamma(counts[present], size=(size, len(present)))
        total = weights.sum(axis=1)
        by_rank = np.zeros((size, len(counts)))
        by_rank[:, present] = weights / total[:, None]
        yield _Draw(by_rank, total, unseen.random(size))


class _Weighted:
    """Shares of weighted images at each rank, all `[B, U]`, and what metrics they make.

    ratio: how many OOD images there are for each ID image, on which precision depends. handicap:
    `[U]`, see `_handicap`.
    """

    def __init__(
        self, of_id: Floats, of_ood: Floats, accepted_id: Floats, ratio: float, handicap: Floats
    ) -> None:
        self.of_id, self.of_ood, self.ratio, self.handicap = of_id, of_ood, ratio, handicap
        self.accepted_id, self.accepted_ood = accepted_id, np.cumsum(of_ood, axis=-1)
        self.flagged_id = 1 + (of_id - accepted_id)
        self.flagged_ood = 1 + (of_ood - self.accepted_ood)

    def measure(
        self, more_id: Floats = _NONE, more_ood: Floats = _NONE, *, worst: bool = True
    ) -> Floats:
        """`BOOTSTRAPPED` metrics `[B, 3]`, with unseen images that weigh so much `[B, 1]`.

        worst: ID above all ranks and OOD below all; else the other way round. The worst detection
        error is that of the threshold, among those which may be best, that loses most. All shares
        are written as multiples of those seen, which saves copies of them.
        """
        id_seen, ood_seen = 1 - more_id, 1 - more_ood
        odds = self.ratio * ood_seen / id_seen
        of_id, of_ood = more_id / id_seen, more_ood / ood_seen
        # An unseen image at its worst is on the wrong side everywhere, and itself comes last.
        wrong, right = (1.0, 0.0) if worst else (0.0, 1.0)
        accepted = _average_precision(
            self.of_id, self.accepted_id, self.accepted_ood, odds, right * of_id, wrong * of_ood
        )
        flagged = _average_precision(
            self.of_ood, self.flagged_ood, self.flagged_id, 1 / odds, right * of_ood, wrong * of_id
        )
        last = (
            1 / (1 + self.ratio) if worst else 1.0,
            self.ratio / (1 + self.ratio) if worst else 1.0,
        )
        gap = id_seen * self.accepted_id - ood_seen * self.accepted_ood
        if worst:
            most = (gap + self.handicap).min(axis=-1, keepdims=True) - more_ood
        else:
            most = gap.max(axis=-1, keepdims=True) + more_id
        return np.concatenate(
            [
                id_seen * accepted + last[0] * more_id,
                ood_seen * flagged + last[1] * more_ood,
                0.5 - 0.5 * np.maximum(most, 0),
            ],
            axis=-1,
        )


def _handicap(id_counts: Counts, ood_counts: Counts) -> Floats:
    """How much less the gap of accepted ID and OOD is at each threshold `[U]` than at the best.

    Infinite where it is so much less that it cannot be the best, by Kolmogorov and Smirnov's bound.
    A sample's best is better than the truth's, and the more so the more thresholds come near it; so
    what all of these may lose is looked at (Chernozhukov, Lee and Rosen, 2013).
    """
    n, m = id_counts.sum(), ood_counts.sum()
    gap = np.cumsum(id_counts) / n - np.cumsum(ood_counts) / m
    less = gap.max() - gap
    return np.where(less <= _KOLMOGOROV * np.sqrt(1 / n + 1 / m), less, np.inf)


def _average_precision(
    steps: Floats, right: Floats, wrong: Floats, odds: Floats, more: Floats, less: Floats
) -> Floats:
    """Mean `[B, 1]`, by `steps`, of (right + more) / (right + more + odds · (wrong + less))."""
    taken = right + more
    all_taken = odds * wrong
    all_taken += taken
    all_taken += odds * less
    taken /= np.maximum(all_taken, _END, out=all_taken)
    return np.asarray(np.einsum("bu,bu->b", taken, steps)[:, None])


def on_shared_ranks(
    id_scores: Floats, ood: Mapping[str, Floats]
) -> tuple[Counts, dict[str, Counts]]:
    """Counts of ID and of each OOD set along the same rising ranks, at most about `CELLS`."""
    groups = [id_scores, *ood.values()]
    ranked = np.sort(np.concatenate(groups), kind="stable")  # which merges groups that are sorted
    edges = ranked[np.append(True, ranked[1:] != ranked[:-1])]
    if len(edges) > CELLS:
        shares = np.linspace(0, 1, CELLS // len(groups) + 1)[1:]
        # The upper end of a cell is a score that exists: ties are never split.
        ends = [np.quantile(group, shares, method="inverted_cdf") for group in groups]
        edges = np.unique(np.concatenate(ends))
    count = [np.bincount(np.searchsorted(edges, g), minlength=len(edges)) for g in groups]
    return count[0], dict(zip(ood, count[1:], strict=True))


def _exact(id_scores: Floats, ood_scores: Floats) -> Floats:
    return _observed(*tally(id_scores, ood_scores)[1:])


def _observed(id_counts: Counts, ood_counts: Counts) -> Floats:
    """The metrics `[3]` of the images themselves."""
    metrics = measure(id_counts, ood_counts)
    return np.array([metrics[name] for name in BOOTSTRAPPED])


def _mean(by_set: Collection[Floats]) -> Floats:
    """Each OOD set weighs the same."""
    return np.asarray(np.mean(list(by_set), axis=0), dtype=np.float64)


def _logit(metrics: Floats) -> Floats:
    return np.asarray(logit(np.clip(metrics, _END, 1 - _END)), dtype=np.float64)
