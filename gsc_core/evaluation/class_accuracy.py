"""How often each class is classified correctly, the worst first, and what that proves.

The worst of many classes looks worse than it is: some class always has bad luck. So whether a class
is worse than the rest is tested with all classes in mind, and so is the accuracy of the worst.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, gammaln, logsumexp

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import LEVEL
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.wilson import wilson

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassAccuracy:
    """A class by its index: `right` of its `images` are classified correctly.

    low, high: Wilson's 95 % interval of this class by itself. worse: whether it is worse than the
    other classes together, by a test that is wrong about any class in at most 5 % of runs (Holm).
    """

    index: int
    right: int
    images: int
    low: float
    high: float
    worse: bool

    @property
    def accuracy(self) -> float:
        """Share that is right, 0..1."""
        return self.right / self.images


def class_accuracies(labels: ArrayLike, predicted: ArrayLike) -> tuple[ClassAccuracy, ...]:
    """The classes that images `[N]` have, the worst first; of equal ones that with more images.

    Both are class indices; an image whose label is −1 has none and is not counted. A class that no
    image has is left out.
    """
    index, right, images = _counts(labels, predicted)
    if not len(index):
        return ()
    low, high = wilson(right, images)
    worse = _holm(_chance_of_so_few(right, images))
    order = np.lexsort((index, -images, right / images))
    columns = (index, right, images, low, high, worse)
    rows = zip(*(column[order].tolist() for column in columns), strict=True)
    return tuple(ClassAccuracy(*row) for row in rows)


def worst_accuracy(labels: ArrayLike, predicted: ArrayLike) -> Interval:
    """The accuracy of the worst class, with a 95 % interval of the worst class's true accuracy.

    Takes what `class_accuracies` takes; classes without an image are not judged. From below it is
    the least of the classes' exact bounds, uncorrected: no class is promised more than its own
    bound, and missing the worst class takes missing that very class (an intersection-union test,
    Berger 1982). From above it is the least of their exact bounds at a level that holds for all
    classes at once (Šidák, 1967), because any class's bad luck would lower it.

    Raises GscError where no image has a label.
    """
    _, right, images = _counts(labels, predicted)
    if not len(images):
        raise GscError("There are no labelled familiar images: run the audit with labels.")
    tail = (1 - LEVEL) / 2
    together = -np.expm1(np.log1p(-tail) / len(images))
    low = betaincinv(np.maximum(right, 1), images - right + 1, tail)
    high = betaincinv(right + 1, np.maximum(images - right, 1), 1 - together)
    return Interval(
        float(np.min(right / images)),
        float(np.min(np.where(right > 0, low, 0.0))),
        float(np.min(np.where(right < images, high, 1.0))),
    )


def _counts(labels: ArrayLike, predicted: ArrayLike) -> tuple[Counts, Counts, Counts]:
    """Index, number of right images and of images of each class that has any, `[C]`."""
    label, answer = np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    labelled = label >= 0
    index, place = np.unique(label[labelled], return_inverse=True)
    is_right = (label == answer)[labelled]
    right = np.bincount(place[is_right], minlength=len(index))
    return index, right, np.bincount(place, minlength=len(index))


def _chance_of_so_few(right: Counts, images: Counts) -> Floats:
    """How likely a class has so few right or fewer, were all classes equally good `[C]`.

    Exact: all images that are right are dealt out to the classes at random (Fisher, 1935).
    """
    every, hits = int(images.sum()), int(right.sum())

    def chance(k: int, n: int) -> float:
        fewer = np.arange(max(0, n - (every - hits)), k + 1)
        ways = _log_ways(hits, fewer) + _log_ways(every - hits, n - fewer)
        return float(np.exp(logsumexp(ways) - _log_ways(every, n)))

    return np.array([chance(k, n) for k, n in zip(right.tolist(), images.tolist(), strict=True)])


def _log_ways(of: int, some: ArrayLike) -> Floats:
    """The log of how many ways there are to take `some` `[N]` out of `of`."""
    taken = np.asarray(some, dtype=np.float64)
    return np.asarray(gammaln(of + 1) - gammaln(taken + 1) - gammaln(of - taken + 1))


def _holm(chances: Floats) -> NDArray[np.bool_]:
    """Which of the tests `[C]` refuse, with at most 5 % for any mistake among them (Holm, 1979)."""
    order = np.argsort(chances, kind="stable")
    limits = (1 - LEVEL) / np.arange(len(chances), 0, -1)
    refused = np.cumprod(chances[order] <= limits).astype(bool)
    result = np.zeros(len(chances), dtype=bool)
    result[order] = refused
    return result
