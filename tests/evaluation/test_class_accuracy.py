"""Accuracy by class against counting and other libraries; claims about the worst, simulated."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom

from gsc_core.errors import GscError
from gsc_core.evaluation.class_accuracy import class_accuracies, worst_accuracy


def answers(shares, images, rng):
    """Labels and answers of classes that are right so often."""
    labels = np.repeat(np.arange(len(shares)), images)
    right = rng.random(len(labels)) < np.repeat(shares, images)
    return labels, np.where(right, labels, (labels + 1) % max(2, len(shares)))


def test_classes_are_counted_the_worst_first():
    labels = [5, 5, 5, 5, 2, 2, 7, 7, 7, -1, -1, 9]
    predicted = [5, 5, 5, 0, 0, 1, 7, 7, 7, 5, 3, 0]
    found = class_accuracies(labels, predicted)
    assert [(one.index, one.right, one.images) for one in found] == [
        (2, 0, 2),
        (9, 0, 1),
        (5, 3, 4),
        (7, 3, 3),
    ]
    for one in found:
        wilson = binomtest(one.right, one.images).proportion_ci(method="wilson")
        assert (one.low, one.high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    assert class_accuracies([-1, -1], [0, 1]) == ()


def test_worse_than_the_rest_is_holms_test_of_fishers():
    rng = np.random.default_rng(0)
    shares, images = np.array([0.5, 0.7, 0.8, 0.9, 0.9, 0.9]), 40
    labels, predicted = answers(shares, images, rng)
    found = class_accuracies(labels, predicted)
    right = sum(one.right for one in found)
    chances = [hypergeom.cdf(one.right, len(labels), right, one.images) for one in found]
    step_down = True
    for place, chance in enumerate(sorted(chances)):
        step_down = step_down and bool(chance <= 0.05 / (len(chances) - place))
        assert found[chances.index(chance)].worse is step_down
    assert found[0].worse
    assert not found[-1].worse


@pytest.mark.slow
def test_equally_good_classes_are_rarely_called_worse():
    """One of 50 is the worst in every run, and the test is wrong about any in at most 5 %."""
    rng, repeats = np.random.default_rng(1), 600
    wrong = sum(
        any(one.worse for one in class_accuracies(*answers(np.full(50, 0.85), 20, rng)))
        for _ in range(repeats)
    )
    assert wrong / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shares", [np.full(50, 0.9), np.linspace(0.5, 0.99, 20), np.array([0.8]), np.full(3, 0.5)]
)
def test_the_worst_classs_interval_covers_its_true_accuracy(shares):
    rng, repeats = np.random.default_rng(2), 2000
    images = rng.integers(5, 60, len(shares))
    found = [worst_accuracy(*answers(shares, images, rng)) for _ in range(repeats)]
    slack = 3 * math.sqrt(0.025 * 0.975 / repeats)
    assert np.mean([one.low > shares.min() for one in found]) <= 0.025 + slack
    assert np.mean([one.high < shares.min() for one in found]) <= 0.025 + slack
    assert all(one.low <= one.value <= one.high for one in found)


def test_of_one_class_the_interval_is_the_exact_one():
    labels, predicted = np.zeros(40), np.r_[np.zeros(30), np.ones(10)]
    exact = binomtest(30, 40).proportion_ci(method="exact")
    found = worst_accuracy(labels, predicted)
    assert (found.low, found.value, found.high) == pytest.approx((exact.low, 0.75, exact.high))


@pytest.mark.slow
def test_an_uncorrected_upper_end_would_be_wrong():
    """The bound of the class that came out worst, taken by itself, is missed far too often."""
    rng, repeats = np.random.default_rng(3), 500
    missed = 0
    for _ in range(repeats):
        labels, predicted = answers(np.full(50, 0.85), 40, rng)
        missed += class_accuracies(labels, predicted)[0].high < 0.85
    assert missed / repeats > 0.3


def test_without_labels_there_is_no_worst_class():
    with pytest.raises(GscError, match="run the audit with labels"):
        worst_accuracy([-1, -1], [0, 0])
