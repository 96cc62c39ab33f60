"""How sure an FPR95 is, with the doubt about its threshold, which rests on few images itself.

The threshold is the score below which 95 % of *all* positive images lie, and the sample only shows
about where that is: how many of n images lie below it is binomial (n, 0.95), whatever the scores
are like. At each rank that the threshold may have, the negatives taken give the exact bounds of a
share. No assumption on the scores is made; so with fewer than 77 positive images the upper bound is
1, because 0.95^76 is 2 %: the threshold may well lie above them all, and nothing tells what is
accepted there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr, ndtri

from gsc_core.evaluation.interval import (
    MEAN,
    Interval,
    doubt_of_mean,
    exact_doubt,
    least_share,
    most_share,
)
from gsc_core.evaluation.metrics import Floats

TAKEN = 0.95  # of the positive images
STRETCH = 1.05
"""Of the normal quantile: what tied scores cost, whose FPR jumps with the threshold."""


@dataclass(frozen=True, eq=False)
class _Ranks:
    """The numbers of positive images that may lie below the threshold, and how they come about.

    The threshold lies between the `rank`-th positive image and the next. spare: the chance, one for
    each rank, that is left for the negatives: none of it is spent at the likeliest ranks.
    """

    rank: NDArray[np.intp]
    spare: Floats

    @classmethod
    def within(cls, reach: float, rank: NDArray[np.intp], chance: Floats) -> "_Ranks":
        """The ranks whose chance has a normal quantile of at most `reach`."""
        leg = np.maximum(-ndtri(chance), 0)
        held = leg < reach
        return cls(rank[held], ndtr(-np.sqrt(reach**2 - leg[held] ** 2)))


def fpr95(id_scores: Floats, ood: Mapping[str, Floats], level: float) -> dict[str, Interval]:
    """OOD images taken where 95 % of ID is: of each set, and their mean at the same threshold."""
    sets = [np.sort(scores) for scores in ood.values()]
    return dict(zip([*ood, MEAN], _of_sets(np.sort(id_scores), sets, level), strict=True))


def fpr95_ood_positive(
    id_scores: Floats, ood: Mapping[str, Floats], level: float
) -> dict[str, Interval]:
    """ID images flagged where 95 % of an OOD set is: of each set, and their mean.

    The sets have thresholds of their own, whose doubts are independent, and the same ID images,
    whose doubt does not grow less with more sets.
    """
    flagged = [np.sort(-id_scores)]
    by_set = {name: _of_sets(np.sort(-scores), flagged, level)[0] for name, scores in ood.items()}
    values = np.array([one.value for one in by_set.values()])
    below, above = (
        _joined(whole, of_id)
        for whole, of_id in zip(
            (
                values - [one.low for one in by_set.values()],
                np.array([one.high for one in by_set.values()]) - values,
            ),
            exact_doubt(values.tolist(), [len(id_scores)] * len(values), level),
            strict=True,
        )
    )
    mean = float(np.mean(values))
    return by_set | {MEAN: Interval(mean, max(0.0, mean - below), min(1.0, mean + above))}


def first_rank(images: int) -> int:
    """Place, from 0, of the positive image by which 95 % of so many are taken."""
    return -(-19 * images // 20) - 1  # whole numbers, as in `metrics.measure`


def is_bounded(images: int, level: float) -> bool:
    """Whether an FPR whose threshold rests on so many positive images can be known to be below 1.

    Else the threshold may lie above them all: with fewer than 77 images, for 95 %.
    """
    return bool(TAKEN**images <= ndtr(-_reach(level)))


def _reach(level: float) -> float:
    """The normal quantile of an interval, stretched."""
    return STRETCH * float(ndtri((1 + level) / 2))


def _of_sets(positive: Floats, negatives: Sequence[Floats], level: float) -> list[Interval]:
    """Negatives at or below the threshold of the positives, of each set and their mean; all rising.

    The doubt of the mean of sets at one threshold is put together by `doubt_of_mean`.
    """
    first = first_rank(len(positive))
    values = [
        np.searchsorted(of_set, positive[first], "right") / len(of_set) for of_set in negatives
    ]
    images = np.array([len(of_set) for of_set in negatives])
    beyond = np.concatenate([[-np.inf], positive, [np.inf]])
    below, above = _ranks(len(positive), level)
    at_most = _taken(negatives, beyond[above.rank + 1])
    most = most_share(at_most, images, above.spare[:, None])
    at_least = _taken(negatives, beyond[below.rank])
    least = least_share(at_least, images, below.spare[:, None])
    highs = [*most.max(axis=0), _means(at_most / images, most - at_most / images).max()]
    lows = [*least.min(axis=0), -_means(-at_least / images, at_least / images - least).max()]
    bounds = zip([*values, np.mean(values)], lows, highs, strict=True)
    return [Interval(float(v), max(0.0, float(low)), min(1.0, float(h))) for v, low, h in bounds]


def _ranks(images: int, level: float) -> tuple[_Ranks, _Ranks]:
    """The ranks to look at for a lower and for an upper bound.

    A rank and a share are held possible together unless both are unlikely: their normal quantiles,
    where they point the same way, are the legs of a right-angled triangle whose longest side is the
    quantile of the whole interval. For scores without ties this is as good as adding variances.
    """
    reach = _reach(level)
    middle, half = TAKEN * images, (reach + 1) * math.sqrt(TAKEN * (1 - TAKEN) * images) + 3
    rank = np.arange(max(0, int(middle - half)), min(images, int(middle + half) + 1) + 1)
    fewer = betainc(np.maximum(images - rank, 1), rank + 1, 1 - TAKEN)  # chance of so many or fewer
    more = betainc(np.maximum(rank, 1), images - rank + 1, TAKEN)
    return (
        _Ranks.within(reach, rank, np.where(rank < images, fewer, 1.0)),
        _Ranks.within(reach, rank, np.where(rank > 0, more, 1.0)),
    )


def _taken(negatives: Sequence[Floats], thresholds: Floats) -> NDArray[np.intp]:
    """How many of each rising set are at or below each threshold `[R, S]`."""
    return np.stack([np.searchsorted(of_set, thresholds, "right") for of_set in negatives], axis=1)


def _means(shares: Floats, doubt: Floats) -> Floats:
    """Means `[R]` of shares `[R, S]` and their upper doubt, see `doubt_of_mean`."""
    return np.asarray(shares.mean(axis=1) + np.linalg.norm(doubt, axis=1) / shares.shape[1])


def _joined(whole: Floats, of_shared: Floats) -> float:
    """The doubt of a mean, of which a part each `[S]` is shared and the rest is independent."""
    own = np.sqrt(np.maximum(whole**2 - of_shared**2, 0))
    return math.hypot(doubt_of_mean(own), float(np.mean(np.minimum(of_shared, whole))))
