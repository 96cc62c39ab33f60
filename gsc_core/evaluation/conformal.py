"""Keeping a share of ID by the conformal quantile, and what that promises of new images."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, betaln

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import LEVEL
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats, checked

ROUNDING = 9  # decimals: 0.7 * 10 is 7.000000000000001, which must not cost an image


@dataclass(frozen=True)
class Promise:
    """What keeping a share of ID promises for new images that are like the calibration ones.

    share: at least this is accepted on average over calibration sets (conformal prediction).
    low, high: the 95 % band in which the passing share of `on` new images then falls.
    """

    share: float
    low: float
    high: float
    on: int


def keep_id(calibration: ArrayLike, share: float) -> float:
    """The ⌈(n+1)·share⌉-th smallest of n calibration scores `[n]` (split conformal prediction).

    A new ID image, exchangeable with those, is then accepted with a chance of at least `share`.
    When n is too small for that (see `smallest_calibration`) no score is high enough: infinity, by
    which every image is accepted. Raises GscError for a share outside 0..1 and scores that cannot
    be used.
    """
    scores = checked(calibration, "calibration")
    rank = _rank(len(scores), share)
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf


def smallest_calibration(share: float) -> int:
    """How many calibration images it takes to promise that this share of ID is accepted."""
    check_share(share)
    return math.ceil(round(share / (1 - share), ROUNDING))


def promise(calibration: int, share: float, on: int) -> Promise:
    """What `keep_id` promises from so many calibration images, looked at on `on` new ones.

    The passing share is beta distributed over calibration sets, Beta(k, n+1−k) with k the rank, and
    the count among new images beta-binomial (Vovk, 2012); ties only make more pass.
    """
    rank = _rank(calibration, share)
    if rank > calibration:
        return Promise(share, 1.0, 1.0, on)
    below = np.cumsum(_beta_binomial(on, rank, calibration + 1 - rank))
    low, high = np.searchsorted(below, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Promise(share, float(low) / on, min(float(high) / on, 1.0), on)


def true_share(calibration: int, share: float) -> Interval:
    """Between which shares of all ID images `keep_id` truly accepts, in 19 of 20 calibrations.

    The share is distributed as Beta(k, n+1−k) over sets of n calibration images, with k the rank
    (Vovk, 2012): 500 images at 95 % mean 92.9 to 96.7 %. Scores without ties; ties only make more
    pass. The value is the share promised on average, k/(n+1); all are 1 where the images are too
    few to set a threshold.
    """
    rank = _rank(calibration, share)
    if rank > calibration:
        return Interval(1.0, 1.0, 1.0)
    low, high = betaincinv(rank, calibration + 1 - rank, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(rank / (calibration + 1), float(low), float(high))


def check_share(share: float) -> None:
    """Raises GscError for a share outside 0..1."""
    if not 0 < share < 1:
        raise GscError("A share to accept or to catch must be above 0 and below 100 %.")


def _beta_binomial(n: int, a: int, b: int) -> Floats:
    """Chance `[n+1]` of each count of 0 to n, whose share is distributed as Beta(a, b).

    By hand, because `scipy.stats` takes most of a second to import.
    """
    k = np.arange(n + 1)
    ways = -np.log(n + 1) - betaln(k + 1, n - k + 1)
    chances: Floats = np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b))
    return chances


def _rank(images: int, share: float) -> int:
    check_share(share)
    return math.ceil(round((images + 1) * share, ROUNDING))
