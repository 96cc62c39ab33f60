"""All metrics with their intervals: bounds by hand, and what the answer may not depend on."""

import time

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from gsc_core.errors import GscError
from gsc_core.evaluation import bootstrap
from gsc_core.evaluation.intervals import evaluate
from gsc_core.evaluation.metrics import METRICS, metrics


def scores(seed=0, n=80, m=60, ties=True):
    rng = np.random.default_rng(seed)
    known, near, far = rng.normal(0, 1, n), rng.normal(1, 1, m), rng.normal(3, 1, m)
    return (
        (known.round(1), {"near": near.round(1), "far": far.round(1)})
        if ties
        else (known, {"near": near, "far": far})
    )


def exact(count, images, level=0.95):
    return binomtest(count, images).proportion_ci(level, method="exact")


def test_values_are_those_of_metrics_and_lie_within_their_bounds():
    for seed, ties in ((0, True), (1, False)):
        known, ood = scores(seed, ties=ties)
        found = evaluate(known, ood, repeats=50)
        assert list(found) == ["near", "far", "mean"]
        by_set = {name: metrics(known, values) for name, values in ood.items()}
        for metric in METRICS:
            for name, truth in by_set.items():
                assert found[name][metric].value == pytest.approx(getattr(truth, metric))
            mean = np.mean([getattr(truth, metric) for truth in by_set.values()])
            assert found["mean"][metric].value == pytest.approx(mean)
            for row in found.values():
                interval = row[metric]
                assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize("images", [5, 20, 300])
def test_perfectly_separated_images_are_not_certain(images):
    """None of n: an AUROC may be as low as 0.025^(1/n), whatever the kind that has n images."""
    apart = np.arange(images) + 1000.0
    for known, strange in ((np.arange(images), apart), (np.arange(400), apart)):
        row = evaluate(known, {"x": strange}, repeats=200)["x"]
        assert row["auroc"].value == row["auroc"].high == 1
        assert row["auroc"].low == pytest.approx(0.025 ** (1 / images))
        for metric in ("aupr_in", "aupr_out"):
            assert row[metric].low < row[metric].value == row[metric].high == 1
        assert row["detection_error"].low == row["detection_error"].value == 0
        assert row["detection_error"].high > 0.2 / images


def test_the_worst_detector_is_not_certain_either():
    for known, strange in ((np.arange(20) + 50.0, np.arange(20)), (np.ones(20), np.ones(20))):
        for metric, interval in evaluate(known, {"x": strange}, repeats=100)["x"].items():
            assert interval.high - interval.low > 0.02, metric


def test_the_bound_of_a_perfect_auroc_is_exact():
    """The hardest case: familiar images alike, and unfamiliar images above them by the AUROC's
    chance."""
    rng, k, draws = np.random.default_rng(1), 12, 20_000
    bound = evaluate(np.zeros(k), {"x": np.ones(k)}, repeats=10)["x"]["auroc"].low
    parted = int((rng.random((draws, k)) < bound).all(axis=1).sum())
    low, high = binom(draws, 0.025).ppf([1e-4, 1 - 1e-4])
    assert low <= parted <= high


def test_an_fpr_is_no_surer_than_its_threshold():
    """No FPR95 is known to be below 1 of fewer than 88 ID images: all may lie below it."""
    strange = np.arange(1000) + 100.0
    for images, known in ((87, False), (88, True)):
        interval = evaluate(np.arange(images), {"x": strange}, repeats=10)["x"]["fpr95"]
        assert interval.value == interval.low == 0
        assert (interval.high < 1) == known


def test_an_fpr_whose_threshold_is_certain_has_the_exact_bounds_of_a_share():
    """Of very many ID images the threshold is known; what is set aside for its rank is left."""
    rng = np.random.default_rng(0)
    known = np.concatenate([np.zeros(500_000), np.ones(10_000) * 9])
    strange = np.where(rng.random(200) < 0.3, -1.0, 5.0)
    interval = evaluate(known, {"x": strange}, repeats=10)["x"]["fpr95"]
    count = int((strange < 0).sum())
    inner, outer = exact(count, 200, 0.95), exact(count, 200, 0.985)
    assert outer.low <= interval.low <= inner.low
    assert inner.high <= interval.high <= outer.high


@pytest.mark.slow
def test_the_mean_of_an_fpr_counts_what_the_sets_share_and_what_they_do_not():
    known = np.concatenate([np.zeros(500_000), np.ones(10_000) * 9])
    ood = {name: np.r_[np.full(30, -1.0), np.full(70, 5.0)] for name in "abcd"}
    found = evaluate(known, ood, repeats=10)
    one, mean = found["a"]["fpr95"], found["mean"]["fpr95"]
    assert mean.high - mean.value == pytest.approx((one.high - one.value) / 2)  # 4 other sets
    few = evaluate(np.arange(100.0), {n: np.arange(5000.0) / 50 for n in "abcd"}, repeats=10)
    one, mean = few["a"]["fpr95"], few["mean"]["fpr95"]
    assert mean.high - mean.low == pytest.approx(one.high - one.low, rel=0.05)  # one threshold


def test_seeded_and_blind_to_block_size_and_other_sets(monkeypatch):
    known, ood = scores()
    whole = evaluate(known, ood, repeats=50, seed=2)
    assert whole == evaluate(known, ood, repeats=50, seed=2)
    assert whole != evaluate(known, ood, repeats=50, seed=3)
    alone = evaluate(known, {"far": ood["far"]}, repeats=50, seed=2)["far"]
    for metric, interval in alone.items():  # equal but for the order of a floating-point sum
        assert vars(interval) == pytest.approx(vars(whole["far"][metric]), abs=1e-9)
    monkeypatch.setattr(bootstrap, "BLOCK", 700)
    for name, row in evaluate(known, ood, repeats=50, seed=2).items():
        for metric, interval in row.items():
            assert vars(interval) == pytest.approx(vars(whole[name][metric]), abs=1e-9)


@pytest.mark.slow
def test_grouped_ranks_give_nearly_the_same_interval(monkeypatch):
    known, ood = scores(seed=4, n=1500, m=1000, ties=False)
    fine = evaluate(known, ood, repeats=600)
    monkeypatch.setattr(bootstrap, "CELLS", 600)
    coarse = evaluate(known, ood, repeats=600)
    for name, row in fine.items():
        for metric, exact in row.items():
            grouped = coarse[name][metric]
            assert grouped.value == exact.value
            # A cell holds 1/200 of a set; a bound differs by that and its own sampling noise.
            assert grouped.low == pytest.approx(exact.low, abs=0.012)
            assert grouped.high == pytest.approx(exact.high, abs=0.012)


@pytest.mark.parametrize(
    ("known", "ood", "options", "words"),
    [
        ([1.0], {}, {}, "at least one OOD set"),
        ([1.0], {"mean": [1.0]}, {}, 'named "mean"'),
        ([1.0], {"far": [np.nan]}, {}, '"far"'),
        ([], {"far": [1.0]}, {}, "no familiar"),
        ([1.0], {"far": [1.0]}, {"repeats": 1}, "2 repeats"),
        ([1.0], {"far": [1.0]}, {"level": 95}, "between 0 and 1"),
    ],
)
def test_unusable_questions_are_one_sentence(known, ood, options, words):
    with pytest.raises(GscError, match=words):
        evaluate(known, ood, **options)


@pytest.mark.slow
def test_large_sets_stay_quick():
    """The target is 10 s of one core; the limit here only catches a return to raw ranks."""
    rng = np.random.default_rng(0)
    start = time.process_time()  # whatever else runs
    evaluate(rng.normal(0, 1, 100_000), {"x": rng.normal(1, 1, 100_000)}, repeats=100)
    assert time.process_time() - start < 10
