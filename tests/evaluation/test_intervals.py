"""The bootstrap against brute-force resampling and against a truth known in closed form."""

import time

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from gsc_core.errors import GscError
from gsc_core.evaluation import intervals
from gsc_core.evaluation.intervals import draw, evaluate
from gsc_core.evaluation.metrics import METRICS, metrics


def scores(seed=0, n=80, m=60, ties=True):
    rng = np.random.default_rng(seed)
    known, near, far = rng.normal(0, 1, n), rng.normal(1, 1, m), rng.normal(3, 1, m)
    return (
        (known.round(1), {"near": near.round(1), "far": far.round(1)})
        if ties
        else (known, {"near": near, "far": far})
    )


def test_replicates_equal_metrics_of_the_images_drawn():
    known, ood = scores()
    repeats, seed = 40, 5
    found = evaluate(known, ood, repeats=repeats, seed=seed, level=0.8)

    # Brute force: turn the same draws back into lists of images and measure those.
    ranks = np.unique(np.concatenate([known, *ood.values()]))
    count = {
        name: np.array([np.sum(values == rank) for rank in ranks])
        for name, values in {None: known, **ood}.items()
    }
    drawn = {name: next(draw(count[name], [repeats], seed, name)) for name in count}
    replicates = {
        name: [
            metrics(np.repeat(ranks, drawn[None][r]), np.repeat(ranks, drawn[name][r]))
            for r in range(repeats)
        ]
        for name in ood
    }
    for metric in METRICS:
        each = {n: np.array([getattr(x, metric) for x in rows]) for n, rows in replicates.items()}
        each["mean"] = (each["near"] + each["far"]) / 2  # the same ID draw in both
        exact = {name: getattr(metrics(known, values), metric) for name, values in ood.items()}
        exact["mean"] = (exact["near"] + exact["far"]) / 2
        for name, spread in each.items():
            got = found[name][metric]
            assert got.value == pytest.approx(exact[name])
            low, high = np.quantile(spread, [0.1, 0.9])
            if metric in ("fpr95", "fpr95_ood_positive"):
                least, most = widest(metric, name, exact, len(known), 60)
                low, high = min(low, least), max(high, most)
            assert (got.low, got.high) == pytest.approx((low, high))


def widest(metric, name, shares, n, m):
    """What an 80 % interval must at least reach: exact bounds, by scipy; of a mean by hand."""
    images = m if metric == "fpr95" else n
    if name != "mean":
        exact = bounds(shares[name], images, 0.8)
        return exact.low, exact.high
    ends = {each: bounds(shares[each], images, 0.8) for each in ("near", "far")}
    below = [shares[each] - end.low for each, end in ends.items()]
    above = [end.high - shares[each] for each, end in ends.items()]
    if metric == "fpr95":  # other images in each set
        return shares[name] - np.hypot(*below) / 2, shares[name] + np.hypot(*above) / 2
    return shares[name] - sum(below) / 2, shares[name] + sum(above) / 2


def bounds(share, images, level=0.95):
    return binomtest(round(share * images), images).proportion_ci(level, method="exact")


def test_a_draw_has_as_many_images_and_is_multinomial():
    counts = np.array([3, 0, 1, 6])
    block = next(draw(counts, [20_000], seed=1, name="x"))
    assert (block.sum(axis=1) == 10).all()
    assert (block[:, 1] == 0).all()
    share = counts / 10
    standard_error = np.sqrt(10 * share * (1 - share) / 20_000)
    assert np.all(np.abs(block.mean(axis=0) - 10 * share) <= 4 * standard_error)


def test_seeded_and_blind_to_block_size_and_other_sets(monkeypatch):
    known, ood = scores()
    whole = evaluate(known, ood, repeats=50, seed=2)
    assert whole == evaluate(known, ood, repeats=50, seed=2)
    assert whole != evaluate(known, ood, repeats=50, seed=3)
    alone = evaluate(known, {"far": ood["far"]}, repeats=50, seed=2)["far"]
    for metric, interval in alone.items():  # equal but for the order of a floating-point sum
        assert vars(interval) == pytest.approx(vars(whole["far"][metric]), abs=1e-12)
    monkeypatch.setattr(intervals, "BLOCK", 700)
    assert whole == evaluate(known, ood, repeats=50, seed=2)


def test_grouped_ranks_give_nearly_the_same_interval(monkeypatch):
    known, ood = scores(seed=4, n=1500, m=1000, ties=False)
    fine = evaluate(known, ood, repeats=600)
    monkeypatch.setattr(intervals, "CELLS", 600)
    coarse = evaluate(known, ood, repeats=600)
    for name, row in fine.items():
        for metric, exact in row.items():
            grouped = coarse[name][metric]
            assert grouped.value == exact.value
            # A cell holds 1/200 of a set; a bound differs by that and its own sampling noise.
            assert grouped.low == pytest.approx(exact.low, abs=0.012)
            assert grouped.high == pytest.approx(exact.high, abs=0.012)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say_in_2000_repeats():
    """ID ~ N(0, 1), OOD ~ N(1.5, 1): AUROC = Phi(1.5 / sqrt 2), FPR95 = Phi(q95 - 1.5)."""
    truth = {"auroc": norm.cdf(1.5 / np.sqrt(2)), "fpr95": norm.cdf(norm.ppf(0.95) - 1.5)}
    trials, level = 2000, 0.9
    rng = np.random.default_rng(11)
    hits = dict.fromkeys(truth, 0)
    for trial in range(trials):
        found = evaluate(
            rng.normal(0, 1, 300), {"x": rng.normal(1.5, 1, 300)}, 200, seed=trial, level=level
        )["x"]
        for metric, value in truth.items():
            hits[metric] += found[metric].low <= value <= found[metric].high
    # Outside this band only once in 1,000 if the coverage is 90 %; a point is granted to the
    # percentile bootstrap itself, which is known to be a little narrow in finite samples.
    least = binom.ppf(0.0005, trials, level - 0.01)
    most = binom.ppf(0.9995, trials, level + 0.01)
    for metric, count in hits.items():
        assert least <= count <= most, metric


def test_a_perfect_detector_is_not_certain():
    rng = np.random.default_rng(0)
    known = rng.normal(0, 1, 300)
    found = evaluate(known, {"x": rng.normal(50, 1, 200), "y": rng.normal(90, 1, 500)}, repeats=20)
    most = {name: bounds(0, images).high for name, images in {"x": 200, "y": 500}.items()}
    most["mean"] = np.hypot(most["x"], most["y"]) / 2
    for name, high in most.items():
        fpr = found[name]["fpr95"]
        assert (fpr.value, fpr.low, fpr.high) == pytest.approx((0, 0, high))
    assert most["mean"] > bounds(0, 700).high, "no more sure than of one set of all the images"
    for name in most:  # the same familiar images for both sets: the mean is no surer
        assert found[name]["fpr95_ood_positive"].high == pytest.approx(bounds(0, 300).high)
    auroc = found["x"]["auroc"]
    assert (auroc.value, auroc.low, auroc.high) == (1, 1, 1)


def test_a_detector_that_lets_all_through_is_not_certain_either():
    fpr = evaluate([1.0] * 40, {"x": [0.0] * 60}, repeats=10)["x"]["fpr95"]
    assert (fpr.value, fpr.low, fpr.high) == pytest.approx((1, bounds(1, 60).low, 1))


def test_the_mean_of_none_and_all_is_not_certain():
    found = evaluate([1.0] * 40, {"none": [2.0] * 100, "all": [0.0] * 100}, repeats=10)
    half = bounds(0, 100).high / 2
    mean = found["mean"]["fpr95"]
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


@pytest.mark.parametrize(
    "shares", [(0.003, 0.9995), (0.017, 1.0), (0.0, 0.005, 0.01), (0.01, 0.4), (0.3, 0.7)]
)
def test_the_mean_covers_rare_and_common_shares_as_often_as_it_says(shares):
    """ID all at 0 keeps the threshold there, so a set's FPR95 is a binomial share of 120 images."""
    trials, rng = 400, np.random.default_rng(3)
    names = [f"s{i}" for i in range(len(shares))]
    hits = dict.fromkeys([*names, "mean"], 0)
    truth = dict(zip(hits, [*shares, np.mean(shares)], strict=True))
    for trial in range(trials):
        ood = {n: np.where(rng.random(120) < truth[n], -1.0, 1.0) for n in names}
        found = evaluate([0.0] * 50, ood, repeats=100, seed=trial)
        for name, value in truth.items():
            fpr = found[name]["fpr95"]
            hits[name] += fpr.low - 1e-12 <= value <= fpr.high + 1e-12
    least = binom.ppf(0.0005, trials, 0.95)  # it may be more: exact bounds are cautious
    assert all(count >= least for count in hits.values()), hits


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


def test_large_sets_stay_quick():
    """The target is 10 s of one core; the limit here only catches a return to raw ranks."""
    rng = np.random.default_rng(0)
    start = time.process_time()  # whatever else runs
    evaluate(rng.normal(0, 1, 100_000), {"x": rng.normal(1, 1, 100_000)}, repeats=100)
    assert time.process_time() - start < 10
