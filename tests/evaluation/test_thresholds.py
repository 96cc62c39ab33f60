"""Thresholds: the conformal promise by simulation, closed forms, ties, exact intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError
from scipy.stats import beta, betabinom, binom, binomtest, kstest, norm
from sklearn.metrics import f1_score

from gsc_core.errors import GscError
from gsc_core.evaluation.cutpoints import best_f1, expected_cost, f1, least_cost
from gsc_core.evaluation.effects import counted
from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    Evidence,
    KeepId,
    Rule,
    Typed,
    Youden,
    acceptance,
    catch_ood,
    effect,
    keep_id,
    parse_rule,
    promise,
    smallest_calibration,
    true_share,
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
    assert kstest(kept, truth.cdf).pvalue > 1e-3  # the whole distribution


def test_the_band_on_a_test_holds_over_2000_repeats():
    rng = np.random.default_rng(2)
    n, m, share, repeats = 80, 150, 0.95, 2000
    made = promise(n, share, m)
    kept = np.empty(repeats, dtype=int)
    for i in range(repeats):
        threshold = keep_id(rng.normal(size=n), share)
        kept[i] = np.sum(rng.normal(size=m) <= threshold)
    hits = np.sum((made.low * m - 0.5 < kept) & (kept < made.high * m + 0.5))
    k = math.ceil((n + 1) * share)
    truth = betabinom(m, k, n + 1 - k)
    # The counts follow the beta-binomial throughout: Dvoretzky, Kiefer and Wolfowitz's band, which
    # a right distribution leaves once in 1,000.
    counts = np.arange(m + 1)
    found = np.searchsorted(np.sort(kept), counts, side="right") / repeats
    assert np.abs(found - truth.cdf(counts)).max() < math.sqrt(math.log(2 / 1e-3) / (2 * repeats))
    covered = truth.cdf(round(made.high * m)) - truth.cdf(round(made.low * m) - 1)
    assert 0.95 <= covered < 0.99
    assert abs(hits / repeats - covered) < 4 * math.sqrt(covered * (1 - covered) / repeats)


def test_a_promise_that_cannot_be_kept_lets_all_pass():
    made = promise(10, 0.99, 50)
    assert (made.low, made.high) == (1, 1)


def test_the_exact_interval_is_exact():
    """Clopper and Pearson: at each bound the observed count is just unlikely enough."""
    found = acceptance(0.5, np.array([0.0] * 7 + [1.0] * 13))
    assert (found.accepted, found.total, found.flagged, found.share) == (7, 20, 13, 0.35)
    assert binom.sf(6, 20, found.low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, found.high) == pytest.approx(0.025)
    none, every = acceptance(-1, np.zeros(30)), acceptance(1, np.zeros(30))
    assert (none.low, none.high) == (0, pytest.approx(1 - 0.025 ** (1 / 30)))
    assert (every.low, every.high) == (pytest.approx(0.025 ** (1 / 30)), 1)


@pytest.mark.parametrize("truth", [0.01, 0.3, 0.95])
def test_the_interval_covers_at_least_as_often_as_it_says(truth):
    n = 120
    counts = np.arange(n + 1)
    found = [acceptance(0.5, np.repeat([0.0, 1.0], [k, n - k])) for k in counts]
    covers = np.array([one.low <= truth <= one.high for one in found])
    assert binom.pmf(counts, n, truth)[covers].sum() >= 0.95


@pytest.mark.parametrize(("truth", "n"), [(0.02, 60), (0.5, 25), (0.9, 200)])
def test_the_exact_interval_covers_in_2000_repeats(truth, n):
    """It may cover more than 95 %, as counts are whole; less only once in 1,000 such tests."""
    repeats = 2000
    counts = np.random.default_rng(5).binomial(n, truth, repeats)
    found = [counted(int(k), n) for k in counts]
    hits = sum(one.low <= truth <= one.high for one in found)
    assert hits >= binom.ppf(0.001, repeats, 0.95)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.data())
def test_the_exact_interval_is_that_of_scipy(n, data):
    k = data.draw(st.integers(0, n))
    found, other = counted(k, n), binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=1e-9)


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


def test_a_caught_share_is_that_of_conformal_prediction():
    """The 28th highest of 30 images flags 28/31 of new ones on average, the first over 0.9."""
    rng, n, repeats = np.random.default_rng(8), 30, 2000
    caught = [1 - catch_ood({"x": rng.uniform(size=n)}, 0.9) for _ in range(repeats)]
    truth = beta(28, n + 1 - 28)
    assert abs(np.mean(caught) - truth.mean()) < 4 * truth.std() / math.sqrt(repeats)


def test_how_far_the_true_share_can_stray_is_its_beta_law():
    """500 calibration images at 95 % mean 92.9 to 96.7 %, also by calibrating 2,000 times."""
    truly = true_share(500, 0.95)
    assert (round(truly.low, 3), round(truly.high, 3)) == (0.929, 0.967)
    assert truly.value == pytest.approx(476 / 501)
    rng = np.random.default_rng(1)
    accepted = np.array([keep_id(rng.random(500), 0.95) for _ in range(2000)])
    for end, share in ((truly.low, 0.025), (truly.high, 0.975)):
        assert np.mean(accepted < end) == pytest.approx(share, abs=4 * math.sqrt(0.025 / 2000))
    assert vars(true_share(10, 0.95)) == {"value": 1, "low": 1, "high": 1}


def shares(threshold, known, sets):
    return np.mean(known <= threshold), np.mean([np.mean(s <= threshold) for s in sets.values()])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SCORES, SCORES, SCORES, SHARES)
def test_the_best_f1_by_trying_every_threshold(known, one, other, prevalence):
    sets = {"one": one, "other": other}

    def value(threshold):
        keep, miss = shares(threshold, known, sets)
        caught, alarms = prevalence * (1 - miss), (1 - prevalence) * (1 - keep)
        precision, recall = caught / (caught + alarms) if caught else 0.0, 1 - miss
        return 2 * precision * recall / (precision + recall) if caught else 0.0

    candidates = [-math.inf, *np.unique(np.concatenate([known, one, other])).astype(float)]
    best = max(map(value, candidates))
    found = best_f1(known, sets, prevalence)
    assert value(found) == pytest.approx(best, abs=1e-9)
    assert all(
        value(t) < best - 1e-13 for t in candidates if t > found
    )  # of equal ones the highest


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SCORES, SCORES, SCORES, SHARES, st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_the_least_cost_by_trying_every_threshold(known, one, other, prevalence, miss, alarm):
    sets = {"one": one, "other": other}

    def cost(threshold):
        keep, strangers = shares(threshold, known, sets)
        return miss * prevalence * strangers + alarm * (1 - prevalence) * (1 - keep)

    scores = np.unique(np.concatenate([known, one, other])).astype(float)
    candidates = [-math.inf, *scores, math.inf]
    least, unit = min(map(cost, candidates)), max(miss * prevalence, alarm * (1 - prevalence))
    found = least_cost(known, sets, miss, alarm, prevalence)
    assert cost(found) == pytest.approx(least, abs=1e-9 * unit)
    assert all(cost(t) > least + 1e-13 * unit for t in candidates if t > found)
    assert found != scores[-1]  # lets all pass, which is said as infinity


def test_f1_is_that_of_sklearn_at_the_data_s_own_prevalence():
    rng = np.random.default_rng(3)
    known, strange = rng.normal(0, 1, 90).round(1), rng.normal(1, 1, 40).round(1)
    truth, scores = np.repeat([0, 1], [90, 40]), np.concatenate([known, strange])
    for threshold in np.unique(scores)[:-1]:
        ours = f1(np.mean(known <= threshold), np.mean(strange <= threshold), 40 / 130)
        assert ours == pytest.approx(f1_score(truth, scores > threshold))
    best = max(f1_score(truth, scores > t) for t in [-math.inf, *np.unique(scores)])
    found = best_f1(known, {"x": strange}, 40 / 130)
    assert f1_score(truth, scores > found) == pytest.approx(best)


def test_youden_is_least_cost_where_both_mistakes_weigh_the_same():
    rng = np.random.default_rng(4)
    known, sets = rng.normal(0, 1, 200), {"x": rng.normal(1, 1, 70), "y": rng.normal(2, 1, 300)}
    assert least_cost(known, sets, 1, 1, 0.5) == youden(known, sets)
    assert least_cost(known, sets, 9, 1, 0.1) == youden(known, sets)


@pytest.mark.parametrize(("miss", "prevalence"), [(1, 0.5), (10, 0.01), (3, 0.6)])
def test_the_least_cost_between_two_normals_is_known(miss, prevalence):
    """ID ~ N(0, 1), OOD ~ N(d, 1): the densities' ratio is the costs' at d/2 + ln(ratio)/d."""
    n, d = 200_000, 1.5
    grid = (np.arange(n) + 0.5) / n
    found = least_cost(norm.ppf(grid), {"x": norm.ppf(grid) + d}, miss, 1, prevalence)
    at = d / 2 + math.log((1 - prevalence) / (miss * prevalence)) / d
    assert found == pytest.approx(at, abs=0.02)
    cost = expected_cost(norm.cdf(found), norm.cdf(found - d), miss, 1, prevalence)
    least = expected_cost(norm.cdf(at), norm.cdf(at - d), miss, 1, prevalence)
    assert cost == pytest.approx(least, rel=1e-4)


def test_to_flag_all_or_nothing_may_be_best():
    known, backwards = np.arange(10.0), {"x": np.arange(-10.0, 0)}
    assert least_cost(known, backwards, 1, 1, 0.1) == math.inf
    assert least_cost(known, backwards, 1, 1, 0.9) == -math.inf
    assert best_f1(known, backwards, 0.5) == -math.inf


@pytest.mark.slow
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
    assert found.id.accepted == sum(float(score) <= threshold for score in known)
    assert found.ood["x"].accepted == sum(float(score) <= threshold for score in strange)
    assert found.ood["y"] == found.id
    assert found.ood_share == pytest.approx((found.id.share + found.ood["x"].share) / 2)
    assert list(found.only("x").ood) == ["x"]
    assert found.only(None) is found
    for one in (found.id, *found.ood.values()):
        assert 0 <= one.low <= one.share <= one.high <= 1


def test_rules_are_told_apart_when_read_back():
    adapter = TypeAdapter(Rule)
    evidence = Evidence(np.arange(40.0), {"x": np.arange(30.0, 60.0)})
    expected = {
        KeepId(share=0.9): 36.0,
        CatchOod(share=1 / 3): pytest.approx(49.0, abs=1e-4),  # flags 49 to 59, 11 of 31
        Youden(): 29.0,
        F1(): 29.0,  # 10 of 40 ID flagged with all OOD; at 39 a third is missed
        F1(prevalence=0.01): 39.0,
        Cost(miss=1, alarm=1, prevalence=0.5): 29.0,
        Cost(miss=1, alarm=100, prevalence=0.5): 39.0,
        Typed(value=1.5): 1.5,
    }
    for rule, value in expected.items():
        assert adapter.validate_json(adapter.dump_json(rule)) == rule
        assert rule.threshold(evidence) == value
    for wrong in (
        {"name": "keep_id", "share": 1.0},
        {"name": "typed", "value": "nan"},
        {"name": "cost", "miss": 0, "alarm": 1, "prevalence": 0.5},
        {"name": "cost", "miss": math.inf, "alarm": 1, "prevalence": 0.5},
        {"name": "f1", "prevalence": 1},
        {},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("keep-id:0.95", KeepId(share=0.95)),
        ("keep-id:share=0.95", KeepId(share=0.95)),
        (" catch-ood:0.9 ", CatchOod(share=0.9)),
        ("youden", Youden()),
        ("f1", F1(prevalence=0.5)),
        ("f1:0.1", F1(prevalence=0.1)),
        ("f1:prevalence=0.1", F1(prevalence=0.1)),
        ("cost:prevalence=0.01,miss=10,alarm=1", Cost(miss=10, alarm=1, prevalence=0.01)),
        ("typed:-1.23e-4", Typed(value=-1.23e-4)),
    ],
)
def test_a_rule_of_the_command_line(text, rule):
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "", "keep", "keep_id:0.9", "keep-id", "keep-id:", "keep-id:95", "keep-id:0.9,0.8",
        "keep-id:0.9,share=0.8", "keep-id:name=youden", "youden:1", "typed:inf", "typed:nan",
        "typed:one", "cost:10,1,0.5", "cost:miss=1", "cost:miss=1,alarm=0,prevalence=0.5",
        "f1:prevalence=", "f1:=", "keep-id:0.9:0.8",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_one_sentence(text):
    with pytest.raises(GscError, match="is not a threshold rule: write keep-id") as caught:
        parse_rule(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 1, -0.1, 95])
def test_a_share_out_of_range_is_one_sentence(share):
    for rule in (
        lambda: keep_id([1.0], share),
        lambda: catch_ood({"x": [1.0]}, share),
        lambda: smallest_calibration(share),
    ):
        with pytest.raises(GscError, match="above 0 and below 100 %"):
            rule()


def test_nothing_to_look_at_is_one_sentence():
    with pytest.raises(GscError, match="no calibration scores"):
        keep_id([], 0.9)
    with pytest.raises(GscError, match="not finite"):
        keep_id([1.0, math.nan], 0.9)
    with pytest.raises(GscError, match="set of them"):
        catch_ood({}, 0.9)
    with pytest.raises(GscError, match="no images"):
        acceptance(0.0, [])
