"""Whether a confidence can be taken at its word: of the images it is 90 % sure of, 90 % are right.

Images are gathered in groups of neighbouring confidences, about as many in each. The calibration
error is how far the share that is right lies from the mean confidence, averaged over all images.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from gsc_core.errors import GscError
from gsc_core.evaluation.effects import LEVEL, counted
from gsc_core.evaluation.interval import Interval, exact_doubt
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.wilson import wilson

MAX_GROUPS = 15
REPEATS = 2000  # draws of the noise that even a perfect confidence shows
SURE = 1 - (1 - LEVEL) / 4  # of each of two bounds from below, which share what one may miss


@dataclass(frozen=True)
class Group:
    """Images of about the same confidence: how many, how many of them are right.

    confidence: their mean, from `least` to `most`. low, high: Wilson's 95 % interval of the share
    that is right. All but the counts 0..1.
    """

    images: int
    right: int
    confidence: float
    least: float
    most: float
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return self.right / self.images


@dataclass(frozen=True)
class ConfidenceCalibration:
    """How a classifier's confidence fits what it gets right, on labelled ID images.

    groups: rising in confidence. error: the expected calibration error, 0..1, lower is better, see
    `calibration_error`. confidence: the mean; accuracy: the share that is right, with its exact
    interval. images: how many there are.
    """

    groups: tuple[Group, ...]
    error: Interval
    confidence: float
    accuracy: Interval
    images: int

    @property
    def overconfident(self) -> bool | None:
        """Whether it is too sure on the whole, or not sure enough; None where it cannot be told."""
        if self.accuracy.low <= self.confidence <= self.accuracy.high:
            return None
        return self.confidence > self.accuracy.high


def confidence_calibration(correct: ArrayLike, confidence: ArrayLike) -> ConfidenceCalibration:
    """Gather images `[N]` by `confidence` 0..1, with whether each is classified correctly.

    Raises GscError without images, and for a confidence that is not a share.
    """
    right, sure = np.asarray(correct, dtype=bool), np.asarray(confidence, dtype=np.float64)
    if not sure.size:
        raise GscError("There are no labelled familiar images: run the audit with labels.")
    if not ((sure >= 0) & (sure <= 1)).all():  # also where one is not a number
        raise GscError("A confidence is not between 0 and 1: run the audit again.")
    place = _places(sure)
    images = np.bincount(place)
    hits = np.bincount(place, weights=right).astype(np.int64)
    means = np.bincount(place, weights=sure) / images
    low, high = wilson(hits, images)
    starts = np.flatnonzero(np.diff(np.sort(place), prepend=-1))
    ordered = np.sort(sure)
    ends = np.append(starts[1:], len(sure)) - 1
    columns = (images, hits, means, ordered[starts], ordered[ends], low, high)
    overall = counted(int(right.sum()), len(right))
    return ConfidenceCalibration(
        groups=tuple(Group(*row) for row in zip(*(c.tolist() for c in columns), strict=True)),
        error=calibration_error(hits, images, means),
        confidence=float(sure.mean()),
        accuracy=Interval(overall.share, overall.low, overall.high),
        images=len(sure),
    )


def number_of_groups(images: int) -> int:
    """How many groups so many images make: the cube root of their number, at most 15."""
    return int(np.clip(round(images ** (1 / 3)), 1, MAX_GROUPS))


def calibration_error(right: ArrayLike, images: ArrayLike, confidence: ArrayLike) -> Interval:
    """The expected calibration error of groups `[B]`, with a 95 % interval.

    `right` of the `images` of each group are, and their mean `confidence` says so many should be.

    The mean distance of the two is more than 0 even where the confidence is perfect, because a
    share that was counted is never just the true one: about 0.06 with 100 images. So the bias that
    normal noise of this size would add to the distances seen is taken off (Kumar, Liang and Ma,
    2019), which leaves about half of it where the confidence is perfect and little elsewhere.

    The interval is of the true error, and needs no such estimate:
    - from above: the distance seen, and how far the groups' accuracies may lie further off, put
      together as for a sum of independent shares (Zou and Donner, 2008). The distances seen are no
      less than what is seen in the true direction of each, whose noise has no bias.
    - from below, the larger of two: what is left of the distance when the noise that a perfect
      confidence would show is taken off, and how far the mean confidence lies outside the exact
      interval of the accuracy. Each is missed at most 1.25 %.
    It is wider than needed where the confidence is nearly perfect. In groups the error is at most
    the one of single images: they cannot see what is too sure and too unsure within a group.
    """
    k, n = np.asarray(right, dtype=np.float64), np.asarray(images, dtype=np.float64)
    sure, weight = np.asarray(confidence, dtype=np.float64), n / n.sum()
    distances = np.abs(k / n - sure)
    seen = float(weight @ distances)
    smoothed = (k + 1) / (n + 2)  # no noise at all in a group without a mistake would be too little
    noise = np.sqrt(smoothed * (1 - smoothed) / n)

    low, high = wilson(k, n)
    farthest = np.maximum(high - sure, sure - low)
    above = seen + float(np.linalg.norm(weight * (farthest - distances)))
    below = max(0.0, seen - _largest_noise(weight * noise), _outside(k, n, weight @ sure))
    value = seen - float(weight @ (_mean_distance(distances, noise) - distances))
    return Interval(min(max(value, below), above), below, min(above, 1.0))


def _places(confidence: Floats) -> NDArray[np.intp]:
    """The group of each image `[N]`: about as many in each, images of one confidence together."""
    groups = number_of_groups(len(confidence))
    shares = np.arange(1, groups + 1) / groups
    edges = np.unique(np.quantile(confidence, shares, method="inverted_cdf"))
    return np.searchsorted(edges, confidence)


def _mean_distance(distance: Floats, noise: Floats) -> Floats:
    """The mean absolute value of a normal variable with this mean and deviation."""
    z = distance / noise
    density = np.exp(-(z**2) / 2) * np.sqrt(2 / np.pi)
    return np.asarray(noise * density + distance * (1 - 2 * ndtr(-z)))


def _largest_noise(deviations: Floats) -> float:
    """What the absolute values of independent normal noise `[B]` add up to, at most."""
    return float(np.quantile(_noise(len(deviations)) @ deviations, SURE))


@cache
def _noise(groups: int) -> Floats:
    """Absolute values of standard normal noise `[REPEATS,B]`, always the same."""
    return np.abs(np.random.default_rng(0).standard_normal((REPEATS, groups)))


def _outside(right: Floats, images: Floats, confidence: float) -> float:
    """How far the mean confidence lies outside the exact interval of the accuracy."""
    accuracy = right.sum() / images.sum()
    (below,), (above,) = exact_doubt([accuracy], [int(images.sum())], SURE)
    return float(max(0.0, confidence - accuracy - above, accuracy - below - confidence))
