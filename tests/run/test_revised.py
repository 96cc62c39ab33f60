"""A run without some of its images, against a run that never had them."""

import numpy as np
import pandas as pd
import pytest
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN, evaluate
from gsc_core.evaluation.metrics import METRICS, metrics
from gsc_core.evaluation.thresholds import KeepId, Typed, Youden
from gsc_core.run import decisions, picking
from gsc_core.run import revised as module
from gsc_core.run.confidence import trust_of
from gsc_core.run.ood_halves import halves
from gsc_core.run.revised import revised
from gsc_core.run.stored import Revision, Run

SETTINGS = {"settings": {"repeats": 100}, "provenance": {"seed": 0}}
CALIBRATION, FAMILIAR, SIGNS, TEXTURES = 0, 50, 250, 370  # where the sets begin


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run.load(write_run(tmp_path_factory.mktemp("runs") / "demo", **SETTINGS))


WITHOUT = frozenset(
    [*range(CALIBRATION, CALIBRATION + 7), *range(FAMILIAR + 5, FAMILIAR + 40), SIGNS + 3, 372, 401]
)


@pytest.fixture(scope="module")
def smaller(run, tmp_path_factory) -> Run:
    """The run of an audit that never had these images, as its writer measures it."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "smaller", **SETTINGS)
    table = pd.read_parquet(folder / "scores.parquet").drop(index=list(WITHOUT))
    table.to_parquet(folder / "scores.parquet", index=False)
    return Run.load(folder)


@pytest.fixture(scope="module")
def view(run) -> Run:
    return revised(run, Revision(WITHOUT))


def test_the_scores_are_those_of_a_run_that_never_had_them(smaller, view):
    assert {**view.images}["id"].scored == 165
    for detector in view.detectors:
        for name, scores in smaller.scores(detector).items():
            np.testing.assert_array_equal(view.scores(detector)[name], scores)
        np.testing.assert_array_equal(
            view.calibration_scores(detector), smaller.calibration_scores(detector)
        )


def test_every_figure_is_that_of_a_run_that_never_had_them(smaller, view):
    scores = pd.read_parquet(smaller.path / "scores.parquet")
    assert len(scores) == 610 - len(WITHOUT)
    for detector in view.detectors:
        of = {name: part[detector].to_numpy() for name, part in scores.groupby("set")}
        measured = evaluate(of["id"], {name: of[name] for name in view.ood_sets}, repeats=100)
        rows = {row.ood_set: dict(row.metrics) for row in view.rows if row.detector == detector}
        assert rows == measured
    familiar = scores[scores["role"] == "id"]
    assert view.id_accuracy == (familiar["label"] == familiar["predicted"]).mean()


def test_a_threshold_is_set_on_the_calibration_images_that_are_left(run, smaller, view):
    for rule in (KeepId(share=0.8), Typed(value=0.5)):
        ours, theirs = (decisions.decide(one, "gsc", rule) for one in (view, smaller))
        assert ours.value == theirs.value
        assert decisions.effect_of(view, ours) == decisions.effect_of(smaller, theirs)
        assert decisions.effect_by_class(view, ours) == decisions.effect_by_class(smaller, theirs)
    assert decisions.current(view).value == decisions.current(smaller).value
    half = KeepId(share=0.5)
    assert decisions.decide(view, "gsc", half).value != decisions.decide(run, "gsc", half).value


def test_no_image_changes_its_half(run, view):
    before, after = halves(run), halves(view)
    for name in run.ood_sets:
        assert set(after.setting[name]) == set(before.setting[name]) - WITHOUT
        assert set(after.testing[name]) == set(before.testing[name]) - WITHOUT


def test_a_saved_threshold_is_set_again_by_its_rule_and_one_by_hand_stays(run, view, tmp_path):
    folder = write_run(tmp_path / "demo", **SETTINGS)
    own = Run.load(folder)
    without = revised(own, Revision(WITHOUT))
    decisions.store(own, decisions.decide(own, "energy", KeepId(share=0.8)), note="why")
    again = decisions.current(without)
    assert again.value == decisions.decide(view, "energy", KeepId(share=0.8)).value
    assert (again.note, again.chosen) == ("why", decisions.current(own).chosen)
    decisions.store(own, decisions.decide(own, "energy", Typed(value=0.25)))
    assert decisions.current(without).value == 0.25
    with pytest.raises(GscError, match="as audited"):
        decisions.store(without, again)


def test_corrected_labels_change_what_is_right(run):
    labels, predicted = run.column("label"), run.column("predicted")
    wrong = [row for row in run.rows_of(["id"]) if labels[row] != predicted[row]][:20]
    view = revised(run, Revision(labels=frozenset((int(r), int(predicted[r])) for r in wrong)))
    right = (labels == predicted)[run.rows_of(["id"])].sum()
    assert view.id_accuracy == (right + 20) / 200
    assert trust_of(view).calibration.accuracy.value == pytest.approx((right + 20) / 200)
    assert view.rows == revised(run, Revision()).rows  # no score was touched
    assert labels is run.column("label")


def test_what_a_run_is_cached_by(run, view):
    assert revised(run, Revision(WITHOUT)).version == view.version
    assert len({run.version, view.version, revised(run, Revision(frozenset({250}))).version}) == 3
    both = [picking.candidates(one) for one in (run, view, run)]
    assert both[0] == both[2] != both[1]


def test_with_nothing_left_out_nothing_changes(run):
    same = revised(run, Revision())
    assert same.rows == run.rows
    assert same.inverted == run.inverted
    assert same.images == run.images


def test_of_large_runs_every_figure_is_exact_and_its_bounds_are_near_those_of_more_draws(
    run, monkeypatch
):
    monkeypatch.setattr(module, "MAX_DRAWS", 1000)
    monkeypatch.setattr(module, "FEW_REPEATS", 50)  # of the 100 of the audit
    large = revised(run, Revision(WITHOUT | {FAMILIAR}))
    for row in (row for row in large.rows if row.ood_set != MEAN):
        of = large.scores(row.detector)
        exact = metrics(of["id"], of[row.ood_set])
        more = evaluate(of["id"], {row.ood_set: of[row.ood_set]}, 1000)[row.ood_set]
        assert set(row.metrics) == set(METRICS)
        for name, interval in row.metrics.items():
            half = (more[name].high - more[name].low) / 2
            assert interval.value == pytest.approx(getattr(exact, name), abs=1e-12)
            assert interval.low == pytest.approx(more[name].low, abs=half)
            assert interval.high == pytest.approx(more[name].high, abs=half)


@pytest.mark.parametrize(
    ("sets", "word"),
    [(["id"], "familiar"), (["calibration"], "calibration"), (None, "familiar")],
)
def test_something_has_to_be_left(run, sets, word):
    with pytest.raises(GscError, match=f"Every {word} image is marked"):
        revised(run, Revision(frozenset(run.rows_of(sets).tolist())))
    with pytest.raises(GscError, match="Every unfamiliar image is marked"):
        revised(run, Revision(frozenset(run.rows_of(run.ood_sets).tolist())))


def test_a_set_of_which_nothing_is_left_is_gone(run):
    view = revised(run, Revision(frozenset(run.rows_of(["textures"]).tolist())))
    assert view.ood_sets == ("unseen-signs", "noise")
    assert view.images["textures"].scored == 0
    decisions.effect_of(view, decisions.decide(view, "energy", Youden()))
