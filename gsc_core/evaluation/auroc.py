"""How sure an AUROC is, also near 1 and of a few images, where a bootstrap knows no doubt.

An AUROC is a share of pairs, and its images are worth some number of independent ones: as many as
would make a share vary as much. That number goes into the exact bounds of a share, as Korn and
Graubard (1998) do for shares of a clustered survey.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gsc_core.evaluation.interval import MEAN, Interval, least_share, most_share
from gsc_core.evaluation.metrics import Floats

UNSEEN = 2.0
"""Misplaced images that weigh the worst variance as much as the measured one, see `worth`."""


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
        return cls(
            1 - _below(np.sort(ood_scores), id_scores), _below(np.sort(id_scores), ood_scores)
        )

    @property
    def auroc(self) -> float:
        """The chance that an OOD image scores higher than an ID image."""
        return float(np.mean(self.of_ood))

    @property
    def variance(self) -> float:
        """The AUROC's, by DeLong, DeLong and Clarke-Pearson (1988)."""
        return _variance(self.of_id) + _variance(self.of_ood)

    @property
    def fewest(self) -> int:
        """Number of images of the kind that has fewer."""
        return min(len(self.of_id), len(self.of_ood))


def intervals(id_scores: Floats, ood: Mapping[str, Floats], level: float) -> dict[str, Interval]:
    """AUROC of each OOD set and of their mean, of scores `[N]` and `[M]` a set (higher = OOD)."""
    placed = {name: Placements.of(id_scores, scores) for name, scores in ood.items()}
    by_set = {name: interval(placements, level) for name, placements in placed.items()}
    return by_set | {MEAN: of_mean(list(placed.values()), list(by_set.values()), level)}


def interval(placed: Placements, level: float) -> Interval:
    """The exact bounds of a share that was seen among `worth` images."""
    auroc, images, tail = placed.auroc, worth(placed), (1 - level) / 2
    low = least_share(auroc * images, images, tail)
    return Interval(auroc, float(low), float(most_share(auroc * images, images, tail)))


def worth(placed: Placements) -> float:
    """How many independent images show a share as surely as these show the AUROC.

    A share p of n images varies by p(1 − p)/n; here n is chosen so that this is DeLong's variance.
    It is estimated from misplaced images, and where these are few or none, the rare ones that make
    it large have not been seen. So it is mixed with the largest that an AUROC can have, p(1 − p)
    over the fewer images (Birnbaum and Klose, 1957), which weighs as much as `UNSEEN` misplaced
    images do. Of perfectly separated images none is misplaced: the fewer count, as they must where
    all that is misplaced may be of one kind.
    """
    auroc, fewest = placed.auroc, placed.fewest
    largest = auroc * (1 - auroc)
    if largest <= 0:
        return float(fewest)
    most = len(placed.of_id) + len(placed.of_ood)  # scores that all tie do not vary at all
    images = min(max(largest / max(placed.variance, largest / most), fewest), most)
    misplaced = min(auroc, 1 - auroc) * images
    weight = UNSEEN / (UNSEEN + misplaced)
    return 1 / ((1 - weight) / images + weight / fewest)


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
    """Of each score, the share of the rising `ranked` that is lower; ties count half."""
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
