"""What is gained by refusing: the classifier names only the images that are accepted.

Selective classification (Geifman and El-Yaniv, 2017): risk is the share of accepted images that
are classified wrongly, coverage the share that is accepted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.metrics import Floats, checked

FEWEST = 20
"""Labelled images from which on a curve says more than its single images do."""
POINTS = 240  # of the curve that is kept; the area is of all


@dataclass(frozen=True)
class Selective:
    """Accuracy with and without refusing, on labelled ID images; all shares 0..1.

    accuracy: of all. passing: of those that are accepted, with its exact 95 % interval low..high.
    accepted: the share that is accepted. area: under the whole risk-coverage curve, 0 is perfect,
    and an order that knows nothing has 1 − accuracy. coverage, risk `[T]`: the curve, coverage
    rising to 1
    and at most `POINTS` of its points. total: how many images there were.
    """

    accuracy: float
    passing: float
    low: float
    high: float
    accepted: float
    area: float
    coverage: Floats
    risk: Floats
    total: int


def selective(correct: ArrayLike, scores: ArrayLike, threshold: float) -> Selective:
    """What refusing images above a threshold does to the accuracy.

    `correct` `[N]` says whether each labelled ID image is classified correctly, `scores` `[N]` are
    its
    outlier scores. Images of one score are refused together: the curve has one point for each
    distinct score, and that point's risk counts for all images it adds to the area.
    Raises GscError when there is no image, a score is not finite, or nothing is accepted.
    """
    values, right = checked(scores, "labelled familiar"), np.asarray(correct, dtype=bool)
    is_accepted = values <= threshold
    if not is_accepted.any():
        raise GscError(
            "No labelled familiar image is accepted at this threshold: choose a higher one."
        )
    named = counted(int(right[is_accepted].sum()), int(is_accepted.sum()))
    accepted, wrong = _along(right, values)
    risk = wrong / accepted
    shown = _thinned(accepted)
    return Selective(
        accuracy=float(right.mean()),
        passing=named.share,
        low=named.low,
        high=named.high,
        accepted=float(is_accepted.mean()),
        area=float(np.sum(np.diff(accepted, prepend=0) * risk) / len(values)),
        coverage=accepted[shown] / len(values),
        risk=risk[shown],
        total=len(values),
    )


def _along(right: NDArray[np.bool_], scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many images are accepted, and of these classified wrongly, at each rising score `[U]`."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return ends + 1, np.cumsum(~right[order])[ends]


def _thinned(accepted: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places of at most `POINTS` points along an even coverage, the last included."""
    if len(accepted) <= POINTS:
        return np.arange(len(accepted))
    wanted = np.linspace(accepted[0], accepted[-1], POINTS)
    return np.unique(np.searchsorted(accepted, wanted))
