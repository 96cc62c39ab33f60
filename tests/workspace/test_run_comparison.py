"""Who wins in a run, and runs side by side."""

import numpy as np
import pytest
from stored_run import SETS, write_run

from gsc_core.charts.scores import roc
from gsc_core.evaluation.metrics import metrics
from gsc_core.evaluation.paired import tied
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.run import decisions
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.run.winners import winners
from gsc_core.workspace.run_comparison import compare


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))

    def write(name: str, **settings) -> Run:
        return Run.load(write_run(tmp_path / "runs" / name, **settings))

    return write


@pytest.mark.parametrize("metric", ["fpr95", "auroc"])
def test_the_winner_is_the_best_honest_detector_with_all_that_a_test_cannot_tell_from_it(
    stored, metric
):
    run = stored("a", detectors={"one": 1.2, "two": 1.1, "far": 0.1, "bad": -2.0})
    for winner in winners(run, metric):
        rows = {row.detector: row for row in run.rows if row.ood_set == winner.ood_set}
        values = {name: rows[name].metrics[metric].value for name in rows if name != "bad"}
        best = (max if metric == "auroc" else min)(values.values())
        assert values[winner.best.detector] == best
        assert winner.of == 4
        assert "bad" not in winner.level
        assert "far" not in winner.level or winner.ood_set == "unseen-signs", "the hardest set"
        scores = {name: run.scores(name) for name in ("one", "two", "far")}
        tests = tied(scores, winner.best.detector, metric, winner.ood_set)
        assert winner.level == tuple(n for n in values if n in tests and tests[n].p > 0.05)
    assert [winner.ood_set for winner in winners(run, metric)] == ["mean", *SETS]


def test_a_detector_that_does_the_same_is_level_and_a_metric_without_a_test_says_so(stored):
    run = stored("a", detectors={"one": 1.2, "two": 1.2, "far": 0.1})
    assert any("two" in winner.level or "one" in winner.level for winner in winners(run, "auroc"))
    assert {winner.level for winner in winners(run, "aupr_in")} == {None}
    (run.path / "scores.parquet").unlink()
    assert {winner.level for winner in winners(Run.load(run.path), "auroc")} == {None}


def test_a_detector_that_points_the_wrong_way_is_never_as_good(stored):
    """By surrogate images alone: on the unfamiliar images at hand it does just what the best one
    does."""
    run = stored("a", detectors={"one": 1.2, "two": 1.2}, inverted=["two"])
    for winner in winners(run, "fpr95"):
        assert (winner.best.detector, winner.level, winner.of) == ("one", (), 2)


def test_runs_side_by_side_hold_what_each_run_says(stored):
    first = stored("a", seed=1, settings={"classifier": "m.pt2", "classes": 3})
    second = stored("b", seed=2, detectors={"gsc": 1.0, "energy": 0.9})
    found = compare([first, second])
    assert list(found.overview.index) == ["a", "b"]
    assert found.overview.loc["a", "Model"] == "m.pt2"
    assert found.overview.loc["b", "Detector"] == "gsc"
    assert found.overview.loc["b", "FPR95"] == second.row("gsc").metrics["fpr95"]
    effect = decisions.effect_of(second, decisions.current(second))
    counted = f"{round(1000 * effect.ood_share)} of 1,000"
    assert found.overview.loc["b", "Unfamiliar images accepted"] == counted
    assert found.overview.loc["a", "Familiar images"] == 200
    assert found.overview.loc["a", "Unfamiliar images"] == 360
    assert {detector for detector, _ in found.pairs} == {"gsc", "energy"}
    table = found.table("auroc")
    for detector, ood_set in found.pairs:
        for name, run in (("a", first), ("b", second)):
            assert (
                table.loc[(detector, ood_set), name] == run.row(detector, ood_set).metrics["auroc"]
            )


def test_means_over_different_sets_are_not_compared(stored):
    first = stored("a", sets={"x": 1.0, "y": 2.0})
    second = stored("b", sets={"x": 1.0, "z": 2.0})
    assert {ood_set for _, ood_set in compare([first, second]).pairs} == {"x"}
    assert {ood_set for _, ood_set in compare([first, first]).pairs} == {"x", "y", "mean"}


def test_nothing_in_common_is_an_empty_table(stored):
    found = compare([stored("a", detectors={"p": 1.0}), stored("b", detectors={"q": 1.0})])
    assert found.pairs == ()
    assert len(found.overview) == 2
    assert len(compare([]).pairs) == 0


def test_runs_of_one_title_are_told_apart(stored):
    runs = [stored(name) for name in ("a", "b", "c")]
    for name, title in (("a", "Release"), ("b", "Release"), ("c", "Other")):
        queue.submit(Kind.AUDIT, title, name, {})
    assert list(compare(runs).runs) == ["Release (a)", "Release (b)", "Other"]


def test_the_curves_are_those_of_each_run(stored):
    runs = [stored("a", seed=1), stored("b", seed=2)]
    curves = compare(runs).curves("energy", "textures")
    for name, run in zip(("a", "b"), runs, strict=True):
        scores = run.scores("energy")
        want = metrics(scores["id"], scores["textures"]).auroc
        assert np.trapezoid(curves[name].tpr, curves[name].fpr) == pytest.approx(want, abs=5e-3)
    figure = roc(curves, colours=SetColours.of(curves))
    looks = {(line.line.color, line.line.dash) for line in figure.data}
    assert [line.name for line in figure.data] == ["a", "b"]
    assert len(looks) == 2
