"""How sure an AUROC is, also near 1 and of a few images, where a bootstrap knows no doubt.

An AUROC is a mean of placements, which lie in 0..1. Gaffke's bound of such a mean (2005; Phan,
Thomas and Learned-Miller, 2021) is a quantile of Rubin's Bayesian bootstrap with one more image,
unseen and at its worst place, and is Clopper and Pearson's where all placements are 0 or 1. Here it
is taken of both kinds of images, in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from gsc_core.evaluation.interval import MEAN, Interval
from gsc_core.evaluation.metrics import Floats, rising


@dataclass(frozen=True, eq=False)
class Placements:
    """Where each image lies among those of the other kind, in 0..1; their mean is the AUROC.

    of_id: of each ID image `[N]`, the share of OOD images that score higher; ties count half.
    of_ood: of each OOD image `[M]`, the share of ID images that score lower.
    """

    of_id: Floats
    of_ood: Floats

    @classmethod
    def of(cls, id_scores: Floats, ood_scores: Floats) -> "Placements":
        """Of outlier scores `[N]` and `[M]`, in their order."""
        return cls(1 - _below(rising(ood_scores), id_scores), _below(rising(id_scores), ood_scores))

    @property
    def auroc(self) -> float:
        """The chance that an OOD image scores higher than an ID image."""
        return float(np.mean(self.of_ood))

    @property
    def fewest(self) -> int:
        """Number of images of the kind that has fewer."""
        return min(len(self.of_id), len(self.of_ood))


def intervals(id_scores: Floats, ood: Mapping[str, Floats], level: float) -> dict[str, Interval]:
    """AUROC of each OOD set and of their mean, of scores `[N]` and `[M]` a set (higher = OOD)."""
    of_id = rising(id_scores)  # in any order, so long as it is the same for all sets
    placed = {name: Placements.of(of_id, rising(scores)) for name, scores in ood.items()}
    by_set = {name: interval(placements, level) for name, placements in placed.items()}
    return by_set | {MEAN: of_mean(list(placed.values()), list(by_set.values()), level)}


def interval(placed: Placements, level: float) -> Interval:
    """The least and the greatest AUROC that the images allow, see `least`."""
    auroc, tail = placed.auroc, (1 - level) / 2
    inverted = Placements(1 - placed.of_id, 1 - placed.of_ood)
    return Interval(auroc, min(auroc, least(placed, tail)), max(auroc, 1 - least(inverted, tail)))


def least(placed: Placements, tail: float) -> float:
    """The AUROC that all images have at least, but for a chance of `tail`.

    Images are weighed again, each by an exponential variate, and an unseen ID image lies above all
    others, an unseen OOD image below all: together they are one image, and the kind that has fewer
    images has more of it. So the images that are rare and wholly misplaced count even where many
    others are misplaced a little, as ties are. What AUROCs this gives is described by their first
    three moments; of perfectly separated images, of whom the fewer count, by the exact bound.
    """
    n, m = len(placed.of_id), len(placed.of_ood)
    if placed.auroc >= 1:
        return float(tail ** (1 / placed.fewest))
    more_id, more_ood = m / (n + m), n / (n + m)
    # A placement counts the unseen images of the other kind too, which lie on the wrong side.
    of_id = _Reweighted.of(placed.of_id * (m / (m + more_ood)), more_id)
    of_ood = _Reweighted.of(placed.of_ood * (n / (n + more_id)), more_ood)
    both = _Reweighted(of_id.mean, of_id.variance + of_ood.variance, of_id.third + of_ood.third)
    return both.quantile(tail)


@dataclass(frozen=True)
class _Reweighted:
    """The mean of numbers in 0..1 that are weighed at random, by its first three moments.

    third: the third central moment.
    """

    mean: float
    variance: float
    third: float

    @classmethod
    def of(cls, values: Floats, unseen: float) -> "_Reweighted":
        """Of values `[N]`, and of a 0 that weighs as much as `unseen` of them (Dirichlet)."""
        total = len(values) + unseen
        mean = float(np.sum(values)) / total
        aside = values - mean
        second = float(np.sum(aside**2) + unseen * mean**2) / total
        third = float(np.sum(aside**3) - unseen * mean**3) / total
        return cls(mean, second / (total + 1), 2 * third / ((total + 1) * (total + 2)))

    def quantile(self, chance: float) -> float:
        """By the beta distribution that has these moments, on 0..`top`.

        Where none has all three on a part of 0..1, that of the first two on the whole of it.
        """
        mean, variance = self.mean, self.variance
        if variance <= 0:
            return mean
        lopsided = self.third * mean / variance
        bend = lopsided - 2 * variance
        top = (lopsided * mean - self.third - 4 * variance * mean) / bend if bend else 1.0
        top = top if mean + variance / mean < top < 1 else 1.0
        weight = mean * (top - mean) / variance - 1
        share = mean / top
        return float(top * betaincinv(weight * share, weight * (1 - share), chance))


def of_mean(placed: list[Placements], by_set: list[Interval], level: float) -> Interval:
    """The mean over OOD sets that share their ID images.

    How far it may lie off is put together from how far each AUROC may, with the correlation that
    the shared images bring (Zou, 2007). It is never surer than `surest` pairs of other images.
    """
    values = np.array([one.value for one in by_set])
    related = correlation(placed)
    below, above = (
        np.sqrt(doubt @ related @ doubt) / len(values)
        for doubt in (
            values - [one.low for one in by_set],
            np.array([one.high for one in by_set]) - values,
        )
    )
    mean = float(np.mean(values))
    most = surest(len(placed[0].of_id), [len(one.of_ood) for one in placed], level)
    return Interval(
        mean,
        float(min(max(mean - below, 0), mean, most)),
        float(max(min(mean + above, 1), mean, 1 - most)),
    )


def correlation(placed: list[Placements]) -> Floats:
    """Of the AUROCs of detectors or OOD sets `[K, K]` that share their ID images; none of OOD.

    One unseen image of each kind is counted in, so that it is defined where nothing is misplaced.
    """
    of_id = np.stack([one.of_id for one in placed])
    images = of_id.shape[1]
    shared = _covariance(of_id) / images + images**-2
    own = [_variance(one.of_ood) + len(one.of_ood) ** -2 for one in placed]
    joint = shared + np.diag(own)
    sd = np.sqrt(np.diag(joint))
    return np.asarray(joint / np.outer(sd, sd), dtype=np.float64)


def surest(id_images: int, ood_images: list[int], level: float) -> float:
    """The highest AUROC (or mean of one a set) that so many images prove when all are separated.

    k pairs of different images are all separated with a chance of at most AUROC^k. Each OOD set
    gets its part of the ID images.
    """
    sets = len(ood_images)
    pairs = sets * min(id_images // sets, *ood_images)
    tail: float = (1 - level) / 2
    return tail ** (1 / pairs) if pairs else 0.0


def _below(ranked: Floats, scores: Floats) -> Floats:
    """Of each score, the share of the rising `ranked` that is lower; ties count half.

    Millions are looked up in order, which takes a third of the time, sorting included.
    """
    if rising(scores) is not scores:
        order, below = np.argsort(scores, kind="stable"), np.empty(len(scores))
        below[order] = _below(ranked, scores[order])
        return below
    twice = np.searchsorted(ranked, scores, "left") + np.searchsorted(ranked, scores, "right")
    return np.asarray(twice / (2 * len(ranked)), dtype=np.float64)


def _variance(placements: Floats) -> float:
    """Of their mean; 0 of a single image, which shows none."""
    images = len(placements)
    return float(np.var(placements, ddof=1)) / images if images > 1 else 0.0


def _covariance(rows: Floats) -> Floats:
    """Between rows `[K, N]`; 0 where N is 1."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / max(rows.shape[1] - 1, 1), dtype=np.float64)
