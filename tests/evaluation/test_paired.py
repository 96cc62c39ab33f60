"""Differences on the same images: against jackknife and permutation, the sign test, known truth."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, false_discovery_control, norm

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import evaluate
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.paired import COMPARED, against, difference, holm, measure, tied

SETS = {"near": 60, "far": 45}


def pair(seed=0, n=80, digits=1):
    """Scores of two detectors, `[2, N]` and `[2, M]` a set, that judge the same images alike."""
    rng = np.random.default_rng(seed)

    def both(images, *shifts):
        common = rng.normal(0, 1, images)
        return np.array([s + common + rng.normal(0, 0.5, images) for s in shifts]).round(digits)

    ood = {"near": both(SETS["near"], 1.0, 1.6), "far": both(SETS["far"], 2.5, 2.0)}
    return both(n, 0.0, 0.0), ood


def measured(known, ood):
    return [
        measure(known[i], {name: scores[i] for name, scores in ood.items()})
        for i in range(len(known))
    ]


def compared(known, ood, level=0.95):
    return difference(*measured(known, ood), level)


def test_a_difference_is_that_of_metrics():
    known, ood = pair()
    found = compared(known, ood)
    for metric in COMPARED:
        each = {}
        for name, scores in ood.items():
            ours, theirs = (getattr(metrics(known[i], scores[i]), metric) for i in (0, 1))
            each[name] = ours - theirs
            assert found[name][metric].value == pytest.approx(each[name])
        assert found["mean"][metric].value == pytest.approx(np.mean(list(each.values())))


def test_the_error_of_an_auroc_difference_is_that_of_the_jackknife():
    """Each image left out in turn (Arvesen, 1969), the familiar ones from both sets at once."""
    known, ood = pair(3, n=100, digits=6)

    def mean(keep, kept):
        aurocs = [
            [metrics(known[i, keep], s[i, kept.get(n, slice(None))]).auroc for i in (0, 1)]
            for n, s in ood.items()
        ]
        return np.mean([ours - theirs for ours, theirs in aurocs])

    every, variance = np.arange(100), 0.0
    out = [mean(np.delete(every, i), {}) for i in every]
    variance += 99 / 100 * np.sum((out - np.mean(out)) ** 2)
    for name, images in SETS.items():
        out = [mean(every, {name: np.delete(np.arange(images), i)}) for i in range(images)]
        variance += (images - 1) / images * np.sum((out - np.mean(out)) ** 2)
    one, other = (each.influences["auroc"]["mean"] for each in measured(known, ood))
    assert one.less(other).error()[0] == pytest.approx(np.sqrt(variance), rel=0.1)


def test_own_intervals_are_those_of_evaluate():
    known, ood = pair(1)
    scores = {name: both[0] for name, both in ood.items()}
    other = evaluate(known[0], scores, repeats=10)
    for name, by_metric in measure(known[0], scores).intervals().items():
        assert by_metric == {metric: other[name][metric] for metric in COMPARED}


def test_against_itself_nothing_differs_and_the_other_way_round_the_sign_turns():
    ours, theirs = measured(*pair())
    for by_metric in difference(ours, ours).values():
        assert all(vars(i) == {"value": 0, "low": 0, "high": 0} for i in by_metric.values())
    there, back = difference(ours, theirs), difference(theirs, ours)
    for name, by_metric in there.items():
        for metric, interval in by_metric.items():
            turned = back[name][metric]
            assert (-turned.value, -turned.high, -turned.low) == pytest.approx(
                (interval.value, interval.low, interval.high)
            )


def test_two_perfect_detectors_may_differ_on_other_images():
    known, ood = np.zeros((2, 90)), {"x": np.ones((2, 90))}
    for interval in compared(known, ood)["x"].values():
        assert interval.value == 0
        assert -0.1 < interval.low < -0.04
        assert 0.04 < interval.high < 0.1


def test_of_few_familiar_images_no_difference_of_fprs_is_known():
    ood = {"x": np.array([np.zeros(500), np.full(500, 9.0)])}
    for images, known in ((87, False), (100, True)):
        rows = np.tile(np.arange(images) / images + 1, (2, 1))
        found = compared(rows, ood)["x"]["fpr95"]
        assert found.value == 1
        assert (found.low > -1) == known


@pytest.mark.parametrize("alone", range(9))
def test_few_images_they_disagree_on_are_not_enough_for_either_as_by_the_sign_test(alone):
    """ID all at 0; of 200 unfamiliar images some pass with ours alone, 50 with both, the rest with
    none."""
    ours, theirs = np.ones(200), np.ones(200)
    ours[: 50 + alone] = theirs[:50] = -1
    found = compared(np.zeros((2, 5000)), {"x": np.array([ours, theirs])})["x"]["fpr95"]
    assert found.value == pytest.approx(alone / 200)
    chance = binomtest(alone, alone).pvalue if alone else 1
    if chance > 0.1:
        assert found.low <= 0
    if chance < 0.01:
        assert found.low > 0
    if alone == 0:
        none = binomtest(0, 200).proportion_ci(method="exact").high
        assert found.low <= -none
        assert found.high >= none


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), [(0.0, 0.0), (0.005, 0.0), (0.03, 0.005), (0.2, 0.1)])
def test_it_covers_rare_disagreement_as_often_as_it_says(ours, theirs):
    """ID all at 0; each unfamiliar image of two sets passes with one alone by these chances."""
    trials, rng, hits = 300, np.random.default_rng(5), {"x": 0, "y": 0, "mean": 0}
    for _ in range(trials):
        ood = {}
        for name in ("x", "y"):
            chance = rng.random(100)
            ood[name] = np.ones((2, 100))
            ood[name][0, chance < ours] = -1
            ood[name][1, chance > 1 - theirs] = -1
        found = compared(np.zeros((2, 400)), ood)
        for name in hits:
            interval = found[name]["fpr95"]
            hits[name] += interval.low <= ours - theirs <= interval.high
    least = binom.ppf(0.0005, trials, 0.95)
    assert all(count >= least for count in hits.values()), hits


@pytest.mark.slow
@pytest.mark.parametrize(("n", "shift"), [(50, 1.5), (300, 1.5), (100, 2.9)])
def test_it_covers_the_truth_and_is_narrower_than_two_intervals(n, shift):
    """Pairs ~ N(m, 1) with correlation 0.8; each detector's FPR95 and AUROC in closed form."""
    means, rho, trials = np.array([shift, shift - 0.3]), 0.8, 1000
    fpr, auroc = norm.cdf(norm.ppf(0.95) - means), norm.cdf(means / np.sqrt(2))
    truth = {"fpr95": fpr[0] - fpr[1], "auroc": auroc[0] - auroc[1]}
    rng = np.random.default_rng(7)
    mix = np.linalg.cholesky([[1, rho], [rho, 1]])
    known = mix @ rng.normal(size=(trials, 2, n))
    strange = mix @ rng.normal(size=(trials, 2, n)) + means[:, None]
    hits, width, apart = dict.fromkeys(truth, 0), [], []
    for trial in range(trials):
        both = measured(known[trial], {"x": strange[trial]})
        found = difference(*both)["x"]
        for metric, value in truth.items():
            hits[metric] += found[metric].low <= value <= found[metric].high
        own = [each.intervals()["x"]["auroc"] for each in both]
        width.append(found["auroc"].high - found["auroc"].low)
        apart.append(np.hypot(*(each.high - each.low for each in own)))
    least = binom.ppf(0.001, trials, 0.95)
    assert all(count >= least for count in hits.values()), hits
    assert np.mean(width) < 0.75 * np.mean(apart), "the images are the same"


def test_holm_is_the_step_down_of_bonferroni():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.01, 0.2], more=1) == pytest.approx([0.03, 0.4])
    p = [0.001, 0.2, 0.03, 0.004]
    assert np.all(np.array(holm(p)) >= false_discovery_control(p)), "stricter than Benjamini's"


def alike(rng, detectors, n, m, shift):
    """Equally good detectors, correlation 0.5 on an image."""
    common = np.sqrt(0.5) * rng.normal(size=n + m)
    own = np.sqrt(0.5) * rng.normal(size=(detectors, n + m)) + common
    own[:, n:] += shift
    return {f"d{i}": {"id": row[:n], "x": row[n:]} for i, row in enumerate(own)}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "shift"), [(50, 50, 2.9), (200, 100, 1.8), (80, 400, 1.8)])
@pytest.mark.parametrize("metric", COMPARED)
def test_equally_good_detectors_are_called_different_in_few_tables(n, m, shift, metric):
    """26 of them: against one that was named before, and against the best on these very images."""
    rng, tables, called = np.random.default_rng(2), 200, {"named": 0, "best": 0}
    for _ in range(tables):
        scores = alike(rng, 26, n, m, shift)
        ranked = sorted(scores, key=lambda d: getattr(metrics(*scores[d].values()), metric))
        best = ranked[0] if metric == "fpr95" else ranked[-1]
        called["named"] += any(one.differs() for one in against(scores, "d0", metric).values())
        called["best"] += any(one.differs() for one in tied(scores, best, metric).values())
    most = binom.ppf(0.999, tables, 0.05)
    assert max(called.values()) <= most, called


@pytest.mark.parametrize("metric", COMPARED)
def test_a_clearly_worse_detector_is_called_different(metric):
    rng = np.random.default_rng(0)
    scores = alike(rng, 5, 300, 300, 3.0)
    scores["worse"] = {"id": scores["d0"]["id"], "x": scores["d0"]["x"] - 1.5}
    for tests in (against(scores, "d0", metric), tied(scores, "d0", metric)):
        assert [name for name, test in tests.items() if test.differs()] == ["worse"]
        sign = 1 if metric == "fpr95" else -1
        assert sign * tests["worse"].difference.low > 0 or sign * tests["worse"].difference.high > 0
    assert all(
        p >= q
        for p, q in zip(
            [t.p for t in tied(scores, "d0", metric).values()],
            [t.p for t in against(scores, "d0", metric).values()],
            strict=True,
        )
    )


def test_blind_to_other_sets():
    known, ood = pair()
    assert compared(known, {"far": ood["far"]})["far"] == compared(known, ood)["far"]


def test_scores_that_cannot_be_used_are_one_sentence():
    with pytest.raises(GscError, match='"x"'):
        measure([0.0, 1.0], {"x": [1.0, np.nan]})
