"""Thresholds that weigh ID against OOD: catch a share, widest gap, best F1, least cost.

Each OOD set weighs the same, whatever number of images it has. What a threshold is worth then
depends on two shares alone: of ID that is accepted, and of OOD that is accepted (the mean over the
sets).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gsc_core.errors import GscError
from gsc_core.evaluation.conformal import ROUNDING, check_share
from gsc_core.evaluation.metrics import Floats, checked

_TIE = 1e-12  # two values of a criterion that differ by less are the same


@dataclass(frozen=True)
class Passing:
    """Shares of ID and of OOD that are accepted at each of rising `thresholds`, all `[T]`.

    The first threshold is −inf, by which nothing is accepted; the others are the scores that occur.
    """

    thresholds: Floats
    id_share: Floats
    ood_share: Floats


def catch_ood(ood_by_set: Mapping[str, ArrayLike], share: float) -> float:
    """The highest threshold that promises to flag `share` of new OOD images, the mean of the sets.

    Of n images that set a threshold, k that it flags promise k / (n + 1) of new ones like them:
    conformal prediction, as in `conformal.keep_id`. Ties only make more caught. It is −inf, by
    which every image is flagged, where there are too few images for the share.
    """
    check_share(share)
    sets = _checked(ood_by_set)
    scores = np.concatenate(sets)
    weights = np.concatenate(
        [np.full(len(of_set), 1 / (len(sets) * (len(of_set) + 1))) for of_set in sets]
    )
    order = np.argsort(-scores)
    caught = np.cumsum(weights[order])
    last = int(np.searchsorted(caught, share - 10**-ROUNDING))
    if last == len(scores):
        return -math.inf
    # One step of float32, in which scores are kept: any finer one is lost when they are compared.
    return float(np.nextafter(np.float32(scores[order[last]]), np.float32(-np.inf)))


def youden(calibration: ArrayLike, ood_by_set: Mapping[str, ArrayLike]) -> float:
    """The lowest score at which ID that is accepted most outweighs OOD that is accepted (Youden,
    1950)."""
    at = passing(calibration, ood_by_set)
    gap = (at.id_share - at.ood_share)[1:]
    return float(at.thresholds[1:][np.argmax(gap >= gap.max() - _TIE)])


def best_f1(
    calibration: ArrayLike, ood_by_set: Mapping[str, ArrayLike], prevalence: float
) -> float:
    """The threshold with the best F1 of catching OOD, see `f1`; of equal ones the highest.

    It is −inf where flagging every image is best.
    """
    at = passing(calibration, ood_by_set)
    return _highest(at.thresholds, -f1(at.id_share, at.ood_share, prevalence))


def least_cost(
    calibration: ArrayLike,
    ood_by_set: Mapping[str, ArrayLike],
    miss: float,
    alarm: float,
    prevalence: float,
) -> float:
    """The threshold with the least expected cost, see `expected_cost`; of equal ones the highest.

    It is −inf where flagging every image is cheapest, and inf where flagging none is.
    """
    at = passing(calibration, ood_by_set)
    cost = expected_cost(at.id_share, at.ood_share, miss, alarm, prevalence)
    # The dearest image counts 1, so that ties are told alike for costs of any size.
    best = _highest(at.thresholds, cost / max(miss * prevalence, alarm * (1 - prevalence)))
    return best if best < at.thresholds[-1] else math.inf


def f1(id_share: ArrayLike, ood_share: ArrayLike, prevalence: float) -> Floats:
    """F1 of flagging OOD, 0..1, from the shares of ID and of OOD that are accepted.

    The harmonic mean of precision and recall (van Rijsbergen, 1979) among images of which a share
    `prevalence` is OOD, not the share that the test happens to have.
    """
    caught = prevalence * (1 - np.asarray(ood_share, dtype=np.float64))
    alarms = (1 - prevalence) * (1 - np.asarray(id_share, dtype=np.float64))
    return np.asarray(2 * caught / (caught + alarms + prevalence))


def expected_cost(
    id_share: ArrayLike, ood_share: ArrayLike, miss: float, alarm: float, prevalence: float
) -> Floats:
    """What an image costs on average, from the shares of ID and of OOD that are accepted.

    `miss` is the cost of one OOD image that is accepted and `alarm` that of one ID image flagged.
    """
    missed = prevalence * np.asarray(ood_share, dtype=np.float64)
    alarms = (1 - prevalence) * (1 - np.asarray(id_share, dtype=np.float64))
    return np.asarray(miss * missed + alarm * alarms)


def passing(calibration: ArrayLike, ood_by_set: Mapping[str, ArrayLike]) -> Passing:
    """What is accepted at every threshold that makes a difference. Raises GscError without OOD."""
    id_scores, sets = checked(calibration, "calibration"), _checked(ood_by_set)
    scores = np.unique(np.concatenate([id_scores, *sets]))
    thresholds = np.concatenate([[-np.inf], scores])
    ood_share = np.mean([_shares(scores_of_set, thresholds) for scores_of_set in sets], axis=0)
    return Passing(thresholds, _shares(id_scores, thresholds), ood_share)


def _shares(scores: Floats, thresholds: Floats) -> Floats:
    return np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)


def _highest(thresholds: Floats, loss: Floats) -> float:
    """The highest threshold of least loss."""
    return float(thresholds[np.flatnonzero(loss <= loss.min() + _TIE)[-1]])


def _checked(ood_by_set: Mapping[str, ArrayLike]) -> list[Floats]:
    if not ood_by_set:
        raise GscError("This rule looks at unfamiliar images: choose a run that has a set of them.")
    return [checked(scores, f'"{name}" (OOD)') for name, scores in ood_by_set.items()]
