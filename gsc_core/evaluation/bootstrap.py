"""How sure average precision and the detection error are: a bootstrap, mended for few images.

Each metric depends on ranks alone, so a replicate needs no scores: it is one draw of how much each
rank weighs. Weights are those of Rubin's Bayesian bootstrap (1981), gamma variates that need no
whole numbers. Three things are mended:

- The images to be feared are those not seen: a bootstrap of perfectly separated images has no
  doubt. At the bad end an unseen image is counted in, an ID image above all others or an OOD image
  below all; the kind that has fewer images has more of it. So n perfectly separated images of a
  kind show no more than they would of a share, Clopper and Pearson's bound of none among n.
- These metrics flatter themselves when resampled, as average precision does by images that are
  drawn twice. The sample flatters the truth as much as a replicate flatters the sample, so both are
  taken off, on a logit scale.
- A spread that is estimated from n images is widened as Student's t is.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, gammaincinv, logit, ndtri, stdtrit

from gsc_core.evaluation.interval import MEAN, Interval
from gsc_core.evaluation.metrics import Counts, Floats, measure, tally

CELLS = 8192
"""Most distinct ranks a replicate works on; more are grouped, see `ranked`."""

BLOCK = 1 << 18
"""Cells (replicates x ranks) held at once: a few MB an array, which stays in the cache."""

BOOTSTRAPPED = ("aupr_in", "aupr_out", "detection_error")
"""In the order of the last axis of every array here."""


_MOST = np.array([1.0, 1.0, 0.5])
"""The largest that each metric can be: no more than half is wrong at the best threshold."""
_LOW_IS_GOOD = np.array([False, False, True])
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
    images = {name: min(len(id_scores), len(scores)) for name, scores in ood.items()}

    values[MEAN], grouped[MEAN] = _mean(values.values()), _mean(grouped.values())
    replicates[MEAN] = _Replicates.mean(replicates.values())
    images[MEAN] = min(len(id_scores), sum(map(len, ood.values())))
    return {
        name: _mended(values[name], grouped[name], replicates[name], images[name], level)
        for name in values
    }


def _mended(
    values: Floats, grouped: Floats, replicates: _Replicates, images: int, level: float
) -> dict[str, Interval]:
    """The intervals of metrics `[3]` whose replicates are of `grouped` ranks, see above."""
    tail = (1 - level) / 2
    better, worse = (
        np.quantile(drawn, [tail, 1 - tail], axis=0)
        for drawn in (replicates.better, replicates.worse)
    )
    ends = np.where(_LOW_IS_GOOD, [better[0], worse[1]], [worse[0], better[1]])
    bias = _logit(replicates.plain.mean(axis=0)) - _logit(grouped)
    free = max(images - 1, 1)
    wider = stdtrit(free, tail) / ndtri(tail) * np.sqrt((images + 1) / free)
    aside = (_logit(ends) - _logit(grouped) - bias) * wider - bias
    within = (values > 0) & (values < _MOST)  # else nothing is flattered
    low, high = np.where(within, np.minimum(expit(_logit(values) + aside), _MOST), ends)
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
    n = int(id_counts.sum())
    for of_id in draw(id_counts, sizes, seed, None):
        accepted_id = np.cumsum(of_id.by_rank, axis=-1)
        for name, of_set in draws.items():
            of_ood, m = next(of_set), int(ood_counts[name].sum())
            at = _Accepted(of_id.by_rank, of_ood.by_rank, accepted_id, m / n)
            unseen = of_id.unseen(m / (n + m)), of_ood.unseen(n / (n + m))
            blocks[name].append((at.measure(), at.worst(*unseen), at.best(*unseen)))
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


class _Accepted:
    """Shares of weighted images that are accepted at each rank, all `[B, U]`.

    ratio: how many OOD images there are for each ID image, on which precision depends.
    """

    def __init__(self, of_id: Floats, of_ood: Floats, id_share: Floats, ratio: float) -> None:
        self.of_id, self.of_ood, self.ratio = of_id, of_ood, ratio
        self.id_share, self.ood_share = id_share, np.cumsum(of_ood, axis=-1)

    def measure(self) -> Floats:
        """`BOOTSTRAPPED` metrics `[B, 3]`."""
        return self._measured(self.of_id, self.of_ood, self.id_share, self.ood_share)

    def worst(self, of_id: Floats, of_ood: Floats) -> Floats:
        """With unseen images that weigh so much `[B, 1]`: ID above all ranks, OOD below all."""
        metrics = self._measured(
            (1 - of_id) * self.of_id,
            (1 - of_ood) * self.of_ood,
            (1 - of_id) * self.id_share,
            (1 - of_ood) * self.ood_share + of_ood,
        )
        # They come last, when all others are accepted or flagged.
        metrics[:, :1] += of_id / (1 + self.ratio)
        metrics[:, 1:2] += of_ood * self.ratio / (1 + self.ratio)
        return metrics

    def best(self, of_id: Floats, of_ood: Floats) -> Floats:
        """The other way round: ID below all ranks, OOD above all."""
        metrics = self._measured(
            (1 - of_id) * self.of_id,
            (1 - of_ood) * self.of_ood,
            (1 - of_id) * self.id_share + of_id,
            (1 - of_ood) * self.ood_share,
        )
        metrics[:, :1] += of_id  # they come first
        metrics[:, 1:2] += of_ood
        return metrics

    def _measured(
        self, of_id: Floats, of_ood: Floats, accepted_id: Floats, accepted_ood: Floats
    ) -> Floats:
        """From what is at each rank and what is accepted there."""
        flagged_id, flagged_ood = 1 - accepted_id + of_id, 1 - accepted_ood + of_ood
        # Where nothing is accepted or flagged, nothing is added either.
        right_in = accepted_id / np.maximum(accepted_id + self.ratio * accepted_ood, _END)
        flagged_ood *= self.ratio
        right_out = flagged_ood / np.maximum(flagged_ood + flagged_id, _END)
        gap = np.max(accepted_id - accepted_ood, axis=-1)
        return np.stack(
            [
                np.einsum("bu,bu->b", right_in, of_id),
                np.einsum("bu,bu->b", right_out, of_ood),
                0.5 - 0.5 * np.maximum(gap, 0),
            ],
            axis=-1,
        )


def on_shared_ranks(
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
