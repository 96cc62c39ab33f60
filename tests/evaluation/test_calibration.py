"""Calibration error against simulated truths, groups against a loop."""

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from gsc_core.errors import GscError
from gsc_core.evaluation.calibration import (
    MAX_GROUPS,
    calibration_error,
    confidence_calibration,
    number_of_groups,
)
from gsc_core.evaluation.wilson import wilson

TRUTHS = {
    "right": expit,
    "a little too sure": lambda z: expit(z / 1.2),
    "much too sure": lambda z: expit(z / 2),
    "not sure enough": lambda z: expit(1.6 * z),
    "both": lambda z: expit(0.5 * z + 0.9),
}
"""How often an image of a confidence with this logit is right."""


def drawn(truth: str, images: int, rng, centre: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    z = rng.normal(centre, 1.3, images)
    return rng.random(images) < TRUTHS[truth](z), expit(z)


def true_error(truth: str, centre: float = 2.0) -> float:
    """By quadrature over the confidences."""
    z = np.linspace(centre - 10, centre + 10, 200_001)
    distance = np.abs(TRUTHS[truth](z) - expit(z))
    return float(np.sum(distance * norm.pdf(z, centre, 1.3)) * (z[1] - z[0]))


REPEATS = 500  # each draws, groups and bounds, in 40 cells: a side missed at 4.6 % fails


@pytest.mark.slow
@pytest.mark.parametrize("centre", [2.0, 5.0])
@pytest.mark.parametrize("images", [20, 50, 100, 500])
@pytest.mark.parametrize("truth", TRUTHS)
def test_the_interval_covers_the_true_error(truth, images, centre):
    """Above 95 % by construction; each side is missed at most half of the rest."""
    rng, error = np.random.default_rng(images), true_error(truth, centre)
    intervals = [
        confidence_calibration(*drawn(truth, images, rng, centre)).error for _ in range(REPEATS)
    ]
    slack = 3 * math.sqrt(0.025 * 0.975 / REPEATS)
    assert np.mean([one.low > error + 1e-12 for one in intervals]) <= 0.025 + slack
    assert np.mean([one.high < error for one in intervals]) <= 0.025 + slack
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in intervals)


def test_the_interval_is_no_wider_than_it_has_to_be():
    """Beside that of an estimate whose deviation is known: no such interval is narrower."""
    rng, images = np.random.default_rng(0), 500
    found = [confidence_calibration(*drawn("much too sure", images, rng)) for _ in range(300)]
    best = 2 * 1.96 * np.std([abs(one.confidence - one.accuracy.value) for one in found])
    widths = [one.error.high - one.error.low for one in found]
    assert best < np.mean(widths) < 1.35 * best


@pytest.mark.slow
@pytest.mark.parametrize("images", [100, 500, 2000])
@pytest.mark.parametrize("truth", TRUTHS)
def test_the_estimate_is_less_biased_than_the_distance_seen(truth, images):
    """A perfect confidence shows a distance all the same: half of that is taken off."""
    rng, error = np.random.default_rng(1), true_error(truth)
    found = [confidence_calibration(*drawn(truth, images, rng)) for _ in range(500)]
    bias = np.mean([one.error.value for one in found]) - error
    plain = np.mean([seen_distance(one.groups) for one in found]) - error
    if truth == "right":
        assert 0 < bias < 0.6 * plain
    assert abs(bias) < max(plain, 0.012)


def seen_distance(groups) -> float:
    total = sum(group.images for group in groups)
    return sum(g.images * abs(g.accuracy - g.confidence) for g in groups) / total


def test_groups_are_what_a_loop_makes():
    rng = np.random.default_rng(2)
    correct, confidence = drawn("both", 1000, rng)
    confidence[:300] = 1.0  # a softmax that is full: these belong together
    found = confidence_calibration(correct, confidence)
    assert sum(group.images for group in found.groups) == found.images == 1000
    for group in found.groups:
        inside = (confidence >= group.least) & (confidence <= group.most)
        assert group.images == inside.sum()
        assert group.right == correct[inside].sum()
        assert group.confidence == pytest.approx(confidence[inside].mean())
        low, high = wilson(group.right, group.images)
        assert (group.low, group.high) == (low, high)
    assert found.groups[-1].images >= 300
    sizes = [group.images for group in found.groups[:-1]]
    assert max(sizes) <= 1000 / number_of_groups(1000) + 1
    assert found.accuracy.value == correct.mean()
    assert found.confidence == pytest.approx(confidence.mean())


def test_the_number_of_groups_follows_that_of_images():
    assert [number_of_groups(n) for n in (1, 8, 100, 1000, 10**6)] == [1, 2, 5, 10, MAX_GROUPS]


@pytest.mark.parametrize(
    ("correct", "sure", "side"), [(0.6, 0.95, True), (0.99, 0.7, False), (0.9, 0.9, None)]
)
def test_too_sure_is_said_only_where_it_shows(correct, sure, side):
    right = np.arange(1000) < 1000 * correct
    assert confidence_calibration(right, np.full(1000, sure)).overconfident is side


def test_one_image_leaves_nearly_everything_open():
    found = confidence_calibration([True], [0.9])
    assert (found.error.low, len(found.groups)) == (0, 1)
    assert found.error.high > 0.5


def test_groups_that_never_err_have_a_width():
    interval = calibration_error([50, 50], [50, 50], [0.999, 1.0])
    assert interval.low == 0
    assert interval.high > 0.03


@pytest.mark.parametrize("sure", [math.nan, -0.1, 1.1])
def test_what_is_no_confidence_is_one_sentence(sure):
    with pytest.raises(GscError, match="not between 0 and 1"):
        confidence_calibration([True, False], [0.5, sure])
    with pytest.raises(GscError, match="no labelled familiar images"):
        confidence_calibration([], [])


@pytest.mark.parametrize("n", [1, 2, 20, 500])
def test_wilsons_bounds_are_where_the_score_test_just_does_not_refuse(n):
    k = np.arange(n + 1)
    low, high = wilson(k, np.full(n + 1, n))
    for bound, inner in ((low, k > 0), (high, k < n)):
        p = bound[inner]
        z = (k[inner] / n - p) / np.sqrt(p * (1 - p) / n)
        assert np.abs(z) == pytest.approx(norm.ppf(0.975))
    assert (low[0], high[-1]) == (0, 1)
