"""How sure an FPR95 is, with the doubt about its threshold, which rests on few images itself.

The threshold is the score below which 95 % of *all* positive images lie, and the sample only shows
about where that is: how many of n images lie below it is binomial (n, 0.95), whatever the scores
are like (of tied ones, as many as chance would put there). At each rank that the threshold may
have, the negatives taken give the exact bounds of a share.

Each end misses with no more chance than the level leaves it, for scores of any kind. Where the
threshold has one rank, the bounds at that rank miss with the chance spent there; so an end misses
with that chance, averaged over the ranks, and with that of the ranks not looked at. Hence with
fewer than 88 positive images the upper bound is 1: that the threshold lies above them all has a
chance of 0.95^88, 1 %, and nothing tells what is accepted there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

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
from gsc_core.evaluation.metrics import Floats, rising

TAKEN = 0.95  # of the positive images
_HALVINGS = 40
_FARTHEST = 8.0  # normal quantile that no level asks for


@dataclass(frozen=True, eq=False)
class _Ranks:
    """The numbers of positive images that may lie below the threshold, for one end of an interval.

    The threshold lies between the `rank`-th positive image and the next. spare: for each rank the
    chance that is left for the negatives: a little less than the whole at the likeliest ranks.
    """

    rank: NDArray[np.intp]
    spare: Floats

    @classmethod
    def within(cls, tail: float, rank: NDArray[np.intp], beyond: Floats, exactly: Floats) -> Self:
        """The fewest ranks by which an end misses with a chance of at most `tail`.

        `rank` `[R]` comes with the chances of it or one still farther out, and of exactly it. A
        rank and a share are held possible together unless both are unlikely: their normal
        quantiles, where they point the same way, are the legs of a right-angled triangle whose
        longest side is the same for all. Without ties that loses little against added variances.
        """
        leg = np.maximum(-ndtri(beyond), 0)

        def spare(reach: float) -> Floats:
            side = np.sqrt(np.maximum(reach**2 - leg**2, 0))
            return np.asarray(np.where(leg < reach, ndtr(-side), 1.0), dtype=np.float64)

        def missed(reach: float) -> float:
            return float(exactly @ spare(reach) + 1 - exactly.sum())

        low, high = 0.0, _FARTHEST
        for _ in range(_HALVINGS):  # the chance jumps where a rank is let go: keep the safe side
            middle = (low + high) / 2
            low, high = (low, middle) if missed(middle) <= tail else (middle, high)
        return cls(rank[leg < high], spare(high)[leg < high])


def fpr95(id_scores: Floats, ood: Mapping[str, Floats], level: float) -> dict[str, Interval]:
    """OOD images taken where 95 % of ID is: of each set, and their mean at the same threshold."""
    sets = [rising(scores) for scores in ood.values()]
    return dict(zip([*ood, MEAN], _of_sets(rising(id_scores), sets, level), strict=True))


def fpr95_ood_positive(
    id_scores: Floats, ood: Mapping[str, Floats], level: float
) -> dict[str, Interval]:
    """ID images flagged where 95 % of an OOD set is: of each set, and their mean.

    The sets have thresholds of their own, whose doubts are independent, and the same ID images,
    whose doubt does not grow less with more sets.
    """
    flagged = [-rising(id_scores)[::-1]]
    by_set = {
        name: _of_sets(-rising(scores)[::-1], flagged, level)[0] for name, scores in ood.items()
    }
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

    Else the threshold may lie above them all: with fewer than 88 images, for 95 %.
    """
    _, above = _ranks(images, level)
    return images not in above.rank


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


@lru_cache(maxsize=256)
def _ranks(images: int, level: float) -> tuple[_Ranks, _Ranks]:
    """The ranks to look at for a lower and for an upper bound, see `_Ranks.within`."""
    tail = (1 - level) / 2
    middle, half = TAKEN * images, 5 * math.sqrt(TAKEN * (1 - TAKEN) * images) + 5
    rank = np.arange(max(0, int(middle - half)), min(images, int(middle + half) + 1) + 1)
    fewer = betainc(np.maximum(images - rank, 1), rank + 1, 1 - TAKEN)  # chance of so many or fewer
    more = betainc(np.maximum(rank, 1), images - rank + 1, TAKEN)
    fewer, more = np.where(rank < images, fewer, 1.0), np.where(rank > 0, more, 1.0)
    exactly = fewer + more - 1
    return (
        _Ranks.within(tail, rank, fewer, exactly),
        _Ranks.within(tail, rank, more, exactly),
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
