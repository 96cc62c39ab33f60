"""The metrics against scikit-learn, brute force and what must hold for any outlier score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gsc_core.errors import GscError
from gsc_core.evaluation.metrics import Metrics, curve, metrics

# Few distinct values: nearly every example has ties within and across the two sides.
tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60)
free = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
either = st.one_of(tied, free)


def by_sklearn(known, strange) -> Metrics:
    """The same numbers read from scikit-learn's curves; both FPRs from the full ROC."""
    score = np.concatenate([known, strange])
    is_ood = np.repeat([0, 1], [len(known), len(strange)])
    fpr, tpr, _ = roc_curve(1 - is_ood, -score, drop_intermediate=False)
    fpr_ood, tpr_ood, _ = roc_curve(is_ood, score, drop_intermediate=False)
    return Metrics(
        fpr95=fpr[np.argmax(tpr >= 0.95)],
        fpr95_ood_positive=fpr_ood[np.argmax(tpr_ood >= 0.95)],
        auroc=roc_auc_score(is_ood, score),
        aupr_in=average_precision_score(1 - is_ood, -score),
        aupr_out=average_precision_score(is_ood, score),
        detection_error=np.min(0.5 * (1 - tpr + fpr)),
    )


def by_counting(known, strange) -> Metrics:
    """The definitions read aloud, one threshold after another."""
    known, strange = np.asarray(known), np.asarray(strange)
    keeps = [t for t in known if np.sum(known <= t) * 100 >= 95 * len(known)]
    catches = [t for t in strange if np.sum(strange >= t) * 100 >= 95 * len(strange)]
    wins = np.mean((strange[:, None] > known) + 0.5 * (strange[:, None] == known))
    errors = [
        0.5 * (np.mean(known > t) + np.mean(strange <= t)) for t in [-np.inf, *known, *strange]
    ]
    return Metrics(
        fpr95=np.mean(strange <= min(keeps)),
        fpr95_ood_positive=np.mean(known >= max(catches)),
        auroc=wins,
        aupr_in=np.mean(
            [np.sum(known <= t) / (np.sum(known <= t) + np.sum(strange <= t)) for t in known]
        ),
        aupr_out=np.mean(
            [np.sum(strange >= t) / (np.sum(strange >= t) + np.sum(known >= t)) for t in strange]
        ),
        detection_error=min(errors),
    )


def same(a: Metrics, b: Metrics) -> None:
    assert vars(a) == pytest.approx(vars(b), abs=1e-12)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(either, either)
def test_equals_sklearn_and_counting(known, strange):
    found = metrics(known, strange)
    same(found, by_sklearn(known, strange))
    same(found, by_counting(known, strange))


@pytest.mark.parametrize(
    ("known", "strange", "expected"),
    [
        ([0.0], [1.0], Metrics(0, 0, 1, 1, 1, 0)),
        ([1.0], [0.0], Metrics(1, 1, 0, 0.5, 0.5, 0.5)),
        ([2.0], [2.0], Metrics(1, 1, 0.5, 0.5, 0.5, 0.5)),
        ([7.0] * 30, [7.0] * 10, Metrics(1, 1, 0.5, 0.75, 0.25, 0.5)),
    ],
    ids=["apart", "backwards", "tied pair", "constant"],
)
def test_smallest_cases(known, strange, expected):
    same(metrics(known, strange), expected)


def test_95_percent_of_twenty_is_nineteen():
    known = np.arange(20.0)
    found = metrics(known, [17.5, 18.0, 18.5])  # the 19th ID score is 18 and takes its tie along
    assert found.fpr95 == pytest.approx(2 / 3)


def test_swapping_sides_and_sign_swaps_the_positive_class():
    rng = np.random.default_rng(3)
    known, strange = rng.integers(0, 9, 70).astype(float), rng.integers(4, 14, 40).astype(float)
    a, b = metrics(known, strange), metrics(-strange, -known)
    swapped = Metrics(
        b.fpr95_ood_positive, b.fpr95, b.auroc, b.aupr_out, b.aupr_in, b.detection_error
    )
    same(a, swapped)


@settings(max_examples=60, deadline=None)
@given(tied, tied)
def test_only_the_order_of_scores_counts(known, strange):
    def stretch(x):
        return np.exp(np.asarray(x)) * 3 - 100

    same(metrics(known, strange), metrics(stretch(known), stretch(strange)))


def test_order_of_images_does_not_count():
    rng = np.random.default_rng(0)
    known, strange = rng.integers(0, 5, 50).astype(float), rng.integers(2, 7, 50).astype(float)
    same(metrics(known, strange), metrics(rng.permutation(known), rng.permutation(strange)))


@pytest.mark.parametrize(
    ("known", "strange", "words"),
    [
        ([], [1.0], "no familiar"),
        ([1.0], [], "no unfamiliar"),
        ([1.0, np.nan], [1.0], "1 of the 2 familiar"),
        ([1.0], [np.inf, 0.0], "1 of the 2 unfamiliar"),
        ([[1.0, 2.0]], [1.0], "one score per image"),
    ],
)
def test_unusable_scores_say_whose(known, strange, words):
    with pytest.raises(GscError, match=words):
        metrics(known, strange)


@settings(max_examples=80, deadline=None)
@given(either, either)
def test_a_short_curve_is_sklearns_whole_staircase(known, strange):
    found = curve(known, strange)
    score = np.concatenate([known, strange])
    is_id = np.repeat([1, 0], [len(known), len(strange)])
    fpr, tpr, _ = roc_curve(is_id, -score, drop_intermediate=False)
    # Dropped points lie on straight lines: the area and every true point are still there.
    assert np.trapezoid(found.tpr, found.fpr) == pytest.approx(np.trapezoid(tpr, fpr))
    assert {*zip(found.fpr, found.tpr, strict=True)} <= {*zip(fpr, tpr, strict=True)}
    assert (found.fpr[0], found.tpr[0], found.fpr[-1], found.tpr[-1]) == (0, 0, 1, 1)


def test_a_long_curve_is_thinned_to_true_points_that_lose_next_to_nothing():
    rng = np.random.default_rng(1)
    known, strange = rng.normal(0, 1, 6000), rng.normal(1.5, 1, 9000)
    found = curve(known, strange, points=500)
    assert len(found.fpr) <= 500
    assert np.all(np.diff(found.fpr) >= 0)
    assert np.all(np.diff(found.tpr) >= 0)
    for i in range(1, len(found.threshold), 25):
        accepted, flagged = known <= found.threshold[i], strange > found.threshold[i]
        assert found.tpr[i] == pytest.approx(accepted.mean())
        assert found.fpr[i] == pytest.approx(1 - flagged.mean())
        let_in = accepted.sum() + (~flagged).sum()
        assert found.precision_in[i] == pytest.approx(accepted.sum() / let_in)
        alarms = flagged.sum() + (~accepted).sum()
        assert found.precision_out[i] == pytest.approx(flagged.sum() / alarms if alarms else 1)
    area = np.trapezoid(found.tpr, found.fpr)
    assert area == pytest.approx(metrics(known, strange).auroc, abs=2e-4)
    assert np.sum((found.fpr > 0) & (found.fpr < 0.01)) > 30  # enough for a logarithmic axis


def test_thinning_keeps_the_corner_of_a_long_run():
    rng = np.random.default_rng(2)
    # 4,000 unfamiliar images lie in one gap of the ID scores: one long level run in the middle.
    known = np.concatenate([rng.uniform(0, 1, 2000), rng.uniform(3, 4, 2000)])
    strange = np.concatenate(
        [rng.uniform(0, 1, 2000), np.linspace(1.5, 2.5, 4000), rng.uniform(3, 4, 2000)]
    )
    found = curve(known, strange, points=60)
    corners = {*zip(found.fpr.round(12), found.tpr.round(12), strict=True)}
    inside = np.searchsorted(np.sort(strange), known[known < 1].max()) / len(strange)
    assert (round(inside, 12), 0.5) in corners
    assert (0.75, 0.5) in {(x, y) for x, y in corners if x >= 0.75}
    assert len(found.fpr) <= 60
