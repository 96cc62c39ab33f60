"""Differences on the same images: against plain resampling, the sign test, and a known truth."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from gsc_core.errors import GscError
from gsc_core.evaluation import paired
from gsc_core.evaluation.intervals import draw, evaluate
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.paired import COMPARED, Resampling, difference

SETS = {"near": 60, "far": 45}


def pair(seed=0, n=80, digits=1):
    """Scores of two detectors, `[2, N]` and `[2, M]` a set, that judge the same images alike."""
    rng = np.random.default_rng(seed)

    def both(images, *shifts):
        common = rng.normal(0, 1, images)
        return np.array([s + common + rng.normal(0, 0.5, images) for s in shifts]).round(digits)

    ood = {"near": both(SETS["near"], 1.0, 1.6), "far": both(SETS["far"], 2.5, 2.0)}
    return both(n, 0.0, 0.0), ood


def compared(known, ood, level=0.95, **options):
    images = {name: scores.shape[1] for name, scores in ood.items()}
    resampling = Resampling(known.shape[1], images, **options)
    ours, theirs = (
        resampling.measure(known[i], {name: scores[i] for name, scores in ood.items()})
        for i in (0, 1)
    )
    return difference(ours, theirs, level)


def test_a_difference_is_that_of_metrics_on_the_images_drawn():
    known, ood = pair()
    repeats, seed = 50, 5
    found = compared(known, ood, 0.8, repeats=repeats, seed=seed)

    sizes = {None: 80, **SETS}
    drawn = {n: next(draw(np.ones(m, dtype=int), [repeats], seed, n)) for n, m in sizes.items()}
    by_metric = {metric: {} for metric in COMPARED}
    for name, scores in ood.items():
        rows = []
        for r in range(repeats):
            ours, theirs = (
                metrics(np.repeat(known[i], drawn[None][r]), np.repeat(scores[i], drawn[name][r]))
                for i in (0, 1)
            )
            rows.append([getattr(ours, m) - getattr(theirs, m) for m in COMPARED])
        for metric, column in zip(COMPARED, np.transpose(rows), strict=True):
            by_metric[metric][name] = column
    for metric, each in by_metric.items():
        each["mean"] = (each["near"] + each["far"]) / 2
        for name, spread in each.items():
            got = found[name][metric]
            assert (got.low, got.high) == pytest.approx(tuple(np.quantile(spread, [0.1, 0.9])))
    for name, scores in ood.items():
        ours, theirs = (metrics(known[i], scores[i]) for i in (0, 1))
        for metric in COMPARED:
            value = getattr(ours, metric) - getattr(theirs, metric)
            assert found[name][metric].value == pytest.approx(value)


def test_it_agrees_with_resampling_written_plainly():
    """Own random numbers, images picked by index, FPR95 and AUROC by their definitions."""
    known, ood = pair(3, n=100, digits=6)
    found = compared(known, ood, repeats=3000)
    rng = np.random.default_rng(99)
    rows = []
    for _ in range(3000):
        familiar = known[:, rng.integers(0, 100, 100)]
        each = {n: s[:, rng.integers(0, s.shape[1], s.shape[1])] for n, s in ood.items()}
        rows.append([plainly(familiar, strange) for strange in each.values()])
    spread = dict(zip(ood, np.moveaxis(np.array(rows), 1, 0), strict=True))
    spread["mean"] = (spread["near"] + spread["far"]) / 2
    for name, values in spread.items():
        for metric, column in zip(COMPARED, values.T, strict=True):
            got, (low, high) = found[name][metric], np.quantile(column, [0.025, 0.975])
            doubt = 0.1 * column.std() + 1 / 45  # of a quantile of 3,000; an image is a step
            assert (got.low, got.high) == pytest.approx((low, high), abs=doubt)


def plainly(known, strange):
    fpr, auroc = [], []
    for familiar, strangers in zip(known, strange, strict=True):
        threshold = sorted(familiar)[94]  # 95 of 100
        fpr.append(np.mean(strangers <= threshold))
        above, same = strangers[:, None] > familiar, strangers[:, None] == familiar
        auroc.append(np.mean(above + 0.5 * same))
    return fpr[0] - fpr[1], auroc[0] - auroc[1]


def test_own_intervals_are_those_of_evaluate_but_for_the_luck_of_the_draw():
    known, ood = pair(1)
    scores = {name: both[0] for name, both in ood.items()}
    found = Resampling(80, SETS, 4000, 1).measure(known[0], scores).intervals()
    other = evaluate(known[0], scores, 4000, 1)
    for name, by_metric in other.items():
        for metric, interval in by_metric.items():
            got = found[name][metric]
            assert got.value == pytest.approx(interval.value)
            assert (got.low, got.high) == pytest.approx((interval.low, interval.high), abs=0.025)


def test_against_itself_nothing_differs_and_the_other_way_round_the_sign_turns():
    known, ood = pair()
    resampling = Resampling(80, SETS, 60)
    ours, theirs = (
        resampling.measure(known[i], {name: both[i] for name, both in ood.items()}) for i in (0, 1)
    )
    for by_metric in difference(ours, ours).values():
        assert all(vars(i) == {"value": 0, "low": 0, "high": 0} for i in by_metric.values())
    there, back = difference(ours, theirs), difference(theirs, ours)
    for name, by_metric in there.items():
        for metric, interval in by_metric.items():
            turned = back[name][metric]
            assert (-turned.value, -turned.high, -turned.low) == pytest.approx(
                (interval.value, interval.low, interval.high)
            )


@pytest.mark.parametrize("alone", range(9))
def test_few_images_they_disagree_on_are_not_enough_for_either_as_by_the_sign_test(alone):
    """ID all at 0; of 200 unfamiliar images some pass with ours alone, 50 with both, the rest with
    none."""
    ours, theirs = np.ones(200), np.ones(200)
    ours[: 50 + alone] = theirs[:50] = -1
    found = compared(np.zeros((2, 40)), {"x": np.array([ours, theirs])}, repeats=400)["x"]["fpr95"]
    assert found.value == pytest.approx(alone / 200)
    chance = binomtest(alone, alone).pvalue if alone else 1
    if chance > 0.1:
        assert found.low <= 0
    if chance < 0.05:
        assert found.low > 0
    if alone == 0:
        none = binomtest(0, 200).proportion_ci(method="exact").high
        assert (found.low, found.high) == pytest.approx((-none, none))


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 0.0), (0.005, 0.0), (0.03, 0.005), (0.2, 0.1)])
def test_it_covers_rare_disagreement_as_often_as_it_says(ours, theirs):
    """ID all at 0; each unfamiliar image of two sets passes with one alone by these chances."""
    trials, rng, hits = 300, np.random.default_rng(5), {"x": 0, "y": 0, "mean": 0}
    for trial in range(trials):
        ood = {}
        for name in ("x", "y"):
            chance = rng.random(100)
            ood[name] = np.ones((2, 100))
            ood[name][0, chance < ours] = -1
            ood[name][1, chance > 1 - theirs] = -1
        found = compared(np.zeros((2, 40)), ood, repeats=100, seed=trial)
        for name in hits:
            interval = found[name]["fpr95"]
            hits[name] += interval.low <= ours - theirs <= interval.high
    least = binom.ppf(0.0005, trials, 0.95)
    assert all(count >= least for count in hits.values()), hits


@pytest.mark.slow
def test_it_covers_the_truth_and_is_narrower_than_two_intervals():
    """Pairs ~ N(m, 1) with correlation 0.8; each detector's FPR95 and AUROC in closed form."""
    means, rho, n, trials, level = np.array([1.5, 1.2]), 0.8, 300, 250, 0.9
    fpr, auroc = norm.cdf(norm.ppf(0.95) - means), norm.cdf(means / np.sqrt(2))
    truth = {"fpr95": fpr[0] - fpr[1], "auroc": auroc[0] - auroc[1]}
    rng = np.random.default_rng(7)
    mix = np.linalg.cholesky([[1, rho], [rho, 1]])
    known = mix @ rng.normal(size=(trials, 2, n))
    strange = mix @ rng.normal(size=(trials, 2, n)) + means[:, None]
    hits, width, apart = dict.fromkeys(truth, 0), [], []
    for trial in range(trials):
        resampling = Resampling(n, {"x": n}, repeats=200, seed=trial)
        both = [resampling.measure(known[trial, i], {"x": strange[trial, i]}) for i in (0, 1)]
        found = difference(*both, level)["x"]
        for metric, value in truth.items():
            hits[metric] += found[metric].low <= value <= found[metric].high
        own = [each.intervals(level)["x"]["auroc"] for each in both]
        width.append(found["auroc"].high - found["auroc"].low)
        apart.append(np.hypot(*(each.high - each.low for each in own)))
    # As in test_intervals: once in 1,000 outside, 3 points granted to the percentile bootstrap;
    # an FPR is read at an image of the sample, which makes its interval wider than need be.
    least = binom.ppf(0.0005, trials, level - 0.03)
    assert all(count >= least for count in hits.values()), hits
    assert hits["auroc"] <= binom.ppf(0.9995, trials, level + 0.03)
    assert hits["fpr95"] <= binom.ppf(0.9995, trials, level + 0.06)
    assert np.mean(width) < 0.6 * np.mean(apart), "the images are the same"


def test_seeded_and_blind_to_block_size_and_other_sets(monkeypatch):
    known, ood = pair()
    whole = compared(known, ood, repeats=40, seed=2)
    assert whole == compared(known, ood, repeats=40, seed=2)
    assert whole != compared(known, ood, repeats=40, seed=3)
    alone = compared(known, {"far": ood["far"]}, repeats=40, seed=2)["far"]
    assert alone == whole["far"]
    monkeypatch.setattr(paired, "BLOCK", 700)
    assert whole == compared(known, ood, repeats=40, seed=2)


def test_scores_that_cannot_be_used_are_one_sentence():
    with pytest.raises(GscError, match='"x"'):
        Resampling(2, {"x": 2}, 5).measure([0.0, 1.0], {"x": [1.0, np.nan]})
