"""Selective classification against a loop over every threshold and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from gsc_core.errors import GscError
from gsc_core.evaluation import selective as module
from gsc_core.evaluation.selective import selective

FEW_SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(FEW_SCORES, st.integers(0, 6))
def test_it_is_what_a_loop_over_the_thresholds_finds(pictures, threshold):
    right, scores = (np.array(each) for each in zip(*pictures, strict=True))
    passing = [good for good, score in pictures if score <= threshold]
    if not passing:
        with pytest.raises(GscError, match="choose a higher one"):
            selective(right, scores, threshold)
        return
    found = selective(right, scores, threshold)
    n = len(pictures)
    assert (found.accuracy, found.total) == (sum(right) / n, n)
    assert found.passing == sum(passing) / len(passing)
    assert found.accepted == len(passing) / n
    exact = binomtest(sum(passing), len(passing)).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)

    coverage, risk, area, before = [], [], 0.0, 0
    for step in sorted(set(scores)):
        accepted = [good for good, score in pictures if score <= step]
        coverage.append(len(accepted) / n)
        risk.append(1 - sum(accepted) / len(accepted))
        area += (len(accepted) - before) / n * risk[-1]
        before = len(accepted)
    assert found.coverage == pytest.approx(coverage)
    assert found.risk == pytest.approx(risk, abs=1e-12)
    assert found.area == pytest.approx(area, abs=1e-12)


def test_without_ties_the_area_is_the_mean_of_the_running_error_rate():
    """Geifman and El-Yaniv's estimate, by cumulative means."""
    rng = np.random.default_rng(0)
    right, scores = rng.random(700) < 0.8, rng.normal(size=700)
    wrong = ~right[np.argsort(scores)]
    running = np.cumsum(wrong) / np.arange(1, 701)
    assert selective(right, scores, math.inf).area == pytest.approx(running.mean())


def test_a_perfect_order_has_the_least_area():
    """With m wrong of n, last in line: the mean over the last m steps of (i − (n − m)) / i."""
    n, m = 500, 60
    right = np.arange(n) < n - m
    found = selective(right, np.arange(n), n - m - 1)
    i = np.arange(n - m + 1, n + 1)
    assert found.area == pytest.approx(np.sum((i - (n - m)) / i) / n)
    assert (found.passing, found.accepted) == (1, (n - m) / n)
    worst = selective(right, -np.arange(n), math.inf).area
    mixed = selective(right, np.random.default_rng(1).permutation(n), math.inf).area
    assert found.area < mixed < worst


def test_an_order_that_knows_nothing_has_the_error_rate_as_area():
    """Each running error rate is then the error rate on average; with all tied it is just that."""
    rng, repeats = np.random.default_rng(2), 2000
    right = np.arange(200) < 150
    areas = [selective(right, rng.permutation(200), 1e9).area for _ in range(repeats)]
    assert abs(np.mean(areas) - 0.25) < 4 * np.std(areas) / math.sqrt(repeats)
    assert selective(right, np.zeros(200), 0).area == 0.25


def test_the_interval_among_passing_pictures_covers_in_2000_repeats():
    """Familiar images of which the strange half is named worse; the truth at 0 is 0.9."""
    rng, repeats, hits = np.random.default_rng(3), 2000, 0
    for _ in range(repeats):
        scores = rng.normal(size=80)
        right = rng.random(80) < np.where(scores <= 0, 0.9, 0.5)
        found = selective(right, scores, 0)
        hits += found.low <= 0.9 <= found.high
    assert hits / repeats > 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)


def test_a_long_curve_is_thinned_to_points_that_lie_on_it():
    rng = np.random.default_rng(4)
    n = 20_000
    scores = rng.normal(size=n)
    right = rng.random(n) < 0.9
    found = selective(right, scores, 0)
    assert len(found.coverage) == len(found.risk) <= module.POINTS
    assert found.coverage[-1] == 1
    assert np.diff(found.coverage).max() < 2 / module.POINTS
    running = np.cumsum(~right[np.argsort(scores)]) / np.arange(1, n + 1)
    assert np.array_equal(found.risk, running[np.rint(found.coverage * n).astype(int) - 1])
    assert found.area == pytest.approx(running.mean())


def test_scores_that_cannot_be_used_are_one_sentence():
    with pytest.raises(GscError, match="no labelled familiar scores"):
        selective([], [], 0)
    with pytest.raises(GscError, match="not finite"):
        selective([True, False], [0, math.nan], 0)
