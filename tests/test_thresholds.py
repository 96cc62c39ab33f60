"""Thresholds: the conformal promise by simulation, closed forms, ties, exact intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError
from scipy.stats import beta, betabinom, binom

from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import (
    CatchOod,
    Evidence,
    KeepId,
    Rule,
    Typed,
    Youden,
    catch_ood,
    effect,
    keep_id,
    passed,
    promise,
    smallest_calibration,
    youden,
)

SCORES = arrays(np.float32, st.integers(1, 40), elements=st.floats(-9, 9, width=32))
SHARES = st.floats(0.01, 0.999)


def test_keep_id_is_the_corrected_quantile():
    """⌈(n+1)·share⌉-th smallest: of 19 scores the largest for 95 %, of 18 none is enough."""
    scores = np.random.default_rng(0).permutation(19).astype(float)
    assert keep_id(scores, 0.95) == 18
    assert keep_id(scores[scores < 18], 0.95) == math.inf
    assert keep_id(scores, 0.5) == 9
    assert keep_id(np.arange(9.0), 0.7) == 6  # 0.7 * 10 is a little over 7 in floating point


@pytest.mark.parametrize(("share", "needed"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.999, 999)])
def test_the_smallest_calibration_is_just_enough(share, needed):
    assert smallest_calibration(share) == needed
    assert keep_id(np.arange(float(needed)), share) == needed - 1
    if needed > 1:
        assert keep_id(np.arange(needed - 1.0), share) == math.inf


def test_the_conformal_promise_holds_over_2000_repeats():
    """The share of new images kept follows Beta(k, n+1−k): its mean and its spread are right."""
    rng = np.random.default_rng(1)
    n, share, repeats = 60, 0.9, 2000
    kept = np.array(
        [1 - math.exp(-keep_id(rng.exponential(size=n), share)) for _ in range(repeats)]
    )
    k = math.ceil((n + 1) * share)
    assert k == 55
    truth = beta(k, n + 1 - k)
    assert truth.mean() >= share
    error = truth.std() / math.sqrt(repeats)
    assert abs(kept.mean() - truth.mean()) < 4 * error
    inside = np.mean((kept > truth.ppf(0.025)) & (kept < truth.ppf(0.975)))
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / repeats)


def test_the_band_on_a_test_holds_over_2000_repeats():
    rng = np.random.default_rng(2)
    n, m, share, repeats = 80, 150, 0.95, 2000
    made = promise(n, share, m)
    hits = 0
    for _ in range(repeats):
        threshold = keep_id(rng.normal(size=n), share)
        hits += made.low <= np.mean(rng.normal(size=m) <= threshold) <= made.high
    k = math.ceil((n + 1) * share)
    truth = betabinom(m, k, n + 1 - k)
    covered = truth.cdf(round(made.high * m)) - truth.cdf(round(made.low * m) - 1)
    assert 0.95 <= covered < 0.99
    assert abs(hits / repeats - covered) < 4 * math.sqrt(covered * (1 - covered) / repeats)


def test_a_promise_that_cannot_be_kept_lets_all_pass():
    made = promise(10, 0.99, 50)
    assert (made.low, made.high) == (1, 1)


def test_the_exact_interval_is_exact():
    """Clopper and Pearson: at each bound the observed count is just unlikely enough."""
    found = passed(0.5, np.array([0.0] * 7 + [1.0] * 13))
    assert (found.passed, found.total, found.flagged, found.share) == (7, 20, 13, 0.35)
    assert binom.sf(6, 20, found.low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, found.high) == pytest.approx(0.025)
    none, every = passed(-1, np.zeros(30)), passed(1, np.zeros(30))
    assert (none.low, none.high) == (0, pytest.approx(1 - 0.025 ** (1 / 30)))
    assert (every.low, every.high) == (pytest.approx(0.025 ** (1 / 30)), 1)


@pytest.mark.parametrize("truth", [0.01, 0.3, 0.95])
def test_the_interval_covers_at_least_as_often_as_it_says(truth):
    n = 120
    counts = np.arange(n + 1)
    found = [passed(0.5, np.repeat([0.0, 1.0], [k, n - k])) for k in counts]
    covers = np.array([one.low <= truth <= one.high for one in found])
    assert binom.pmf(counts, n, truth)[covers].sum() >= 0.95


def test_catch_ood_weighs_sets_alike_and_takes_ties_whole():
    large, small = np.arange(100.0), np.array([5.0, 200.0])
    threshold = catch_ood({"large": large, "small": small}, 0.75)
    caught = [np.mean(values > threshold) for values in (large, small)]
    assert np.mean(caught) >= 0.75
    higher = np.nextafter(np.float32(threshold), np.float32(np.inf))
    assert np.mean([np.mean(values > higher) for values in (large, small)]) < 0.75
    assert np.mean(np.array([1.0, 1, 1, 2]) > catch_ood({"x": [1.0, 1, 1, 2]}, 0.5)) == 1


def test_youden_is_the_widest_gap():
    known, strange = np.array([0.0, 1, 2, 3]), np.array([2.5, 4, 5, 6])
    assert youden(known, {"x": strange}) == 2  # 3 of 4 against none; at 3: all against 1 of 4
    assert youden([0.0, 1.0], {"x": [7.0], "y": [8.0, 9.0]}) == 1


@settings(max_examples=150, deadline=None)
@given(SCORES, SCORES, SCORES, SHARES)
def test_each_rule_does_what_it_says_on_any_scores(known, one, other, share):
    sets = {"one": one, "other": other}
    at = keep_id(known, share)
    assert np.mean(known <= at) >= share - 1e-9
    if at < math.inf:
        below = np.mean(known < at)
        assert below * len(known) < (len(known) + 1) * share

    at = catch_ood(sets, share)
    assert np.mean([np.mean(scores > at) for scores in sets.values()]) >= share - 2e-9

    at = youden(known, sets)
    gaps = {
        float(t): np.mean(known <= t) - np.mean([np.mean(s <= t) for s in sets.values()])
        for t in np.concatenate([known, one, other])
    }
    assert gaps[at] == pytest.approx(max(gaps.values()), abs=1e-8)


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES, st.floats(-10, 10))
def test_effect_counts_each_set(known, strange, threshold):
    found = effect(threshold, known, {"x": strange, "y": known})
    assert found.known.passed == sum(float(score) <= threshold for score in known)
    assert found.strangers["x"].passed == sum(float(score) <= threshold for score in strange)
    assert found.strangers["y"] == found.known
    assert found.strangers_share == pytest.approx(
        (found.known.share + found.strangers["x"].share) / 2
    )
    assert list(found.only("x").strangers) == ["x"]
    assert found.only(None) is found
    for one in (found.known, *found.strangers.values()):
        assert 0 <= one.low <= one.share <= one.high <= 1


def test_rules_are_told_apart_when_read_back():
    adapter = TypeAdapter(Rule)
    evidence = Evidence(np.arange(40.0), {"x": np.arange(30.0, 60.0)})
    expected = {
        KeepId(share=0.9): 36.0,
        CatchOod(share=1 / 3): pytest.approx(50.0, abs=1e-4),  # flags 50 to 59
        Youden(): 29.0,
        Typed(value=1.5): 1.5,
    }
    for rule, value in expected.items():
        assert adapter.validate_json(adapter.dump_json(rule)) == rule
        assert rule.threshold(evidence) == value
    for wrong in ({"name": "keep_id", "share": 1.0}, {"name": "typed", "value": "nan"}, {}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize("share", [0, 1, -0.1, 95])
def test_a_share_out_of_range_is_one_sentence(share):
    for rule in (
        lambda: keep_id([1.0], share),
        lambda: catch_ood({"x": [1.0]}, share),
        lambda: smallest_calibration(share),
    ):
        with pytest.raises(GscError, match="between 0 and 100 %"):
            rule()


def test_nothing_to_look_at_is_one_sentence():
    with pytest.raises(GscError, match="no calibration scores"):
        keep_id([], 0.9)
    with pytest.raises(GscError, match="not finite"):
        keep_id([1.0, math.nan], 0.9)
    with pytest.raises(GscError, match="set of them"):
        catch_ood({}, 0.9)
    with pytest.raises(GscError, match="no pictures"):
        passed(0.0, [])
