"""Scores that are ranks among familiar images: both kinds of images can be seen."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from stored_run import write_run

from gsc_core.charts import scores as score_charts
from gsc_core.charts.threshold import figures, marked
from gsc_core.evaluation.histogram import Histograms, ScoreAxis
from gsc_core.evaluation.thresholds import Typed, effect
from gsc_core.evaluation.tradeoff import Tradeoff
from gsc_core.report import report_of, to_html
from gsc_core.report.figures import histogram_svg
from gsc_core.report.svg import MARK
from gsc_core.run.decisions import decide, default
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run

rng = np.random.default_rng(5)
CALIBRATION = np.sort(rng.normal(size=500))


def rank(values: np.ndarray) -> np.ndarray:
    """Among the calibration images, 0 to 1, as float32 in a run's table."""
    return (np.searchsorted(CALIBRATION, values) / 500).astype(np.float32).astype(np.float64)


FAMILIAR, UNFAMILIAR = rank(rng.normal(size=600)), rank(rng.normal(3, 1, size=400))


def share_left_of(axis: ScoreAxis, scores: np.ndarray, at: float) -> float:
    return float(axis.shares(scores)[axis.centres < at].sum())


def test_both_kinds_can_be_seen():
    even = np.histogram(UNFAMILIAR, 60, (0, 1))[0] / 400
    assert even.max() > 20 * (1 / 60)  # why: all else would be a flat line
    axis = ScoreAxis.of([FAMILIAR, UNFAMILIAR], 60)
    assert axis.by_log_odds
    familiar, unfamiliar = axis.shares(FAMILIAR), axis.shares(UNFAMILIAR)
    assert familiar.max() > unfamiliar.max() / 6
    for heights in (familiar, unfamiliar):
        assert heights.sum() == pytest.approx(1, abs=1e-5)
        assert np.count_nonzero(heights > 0.01) >= 5


@pytest.mark.parametrize(
    ("familiar", "unfamiliar"),
    [
        (rng.normal(size=500), rng.normal(9, 1, size=500)),  # no ranks, however far
        (rng.normal(0, 0.1, size=500), np.ones(500)),
        (rng.uniform(size=500), rng.uniform(0.3, 1, size=500)),  # ranks that even bins show
        (np.zeros(20), np.ones(20)),  # nothing between
    ],
)
def test_other_scores_keep_their_even_bins(familiar, unfamiliar):
    axis = ScoreAxis.of([familiar, unfamiliar], 60)
    assert not axis.by_log_odds
    assert len(axis.edges) == 61
    assert axis.place(0.25) == axis.score(0.25) == 0.25 or not axis.edges[0] <= 0.25


def test_a_place_and_its_score_are_the_same_point():
    axis = ScoreAxis.of([FAMILIAR, UNFAMILIAR], 60)
    ranks = axis.score(axis.centres)
    assert np.all(np.diff(ranks) > 0)
    assert axis.place(ranks) == pytest.approx(axis.centres)
    assert axis.place([0.0, 1.0, -3, 7]) == pytest.approx(axis.edges[[0, -1, 0, -1]])


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.95, 0.99])
def test_the_threshold_parts_the_bars_as_it_parts_the_images(threshold):
    sets = {"far": UNFAMILIAR}
    drawn = figures(Tradeoff.of(FAMILIAR, sets), list(sets), colours=SetColours.of(sets))
    found = effect(threshold, FAMILIAR, sets)
    histogram, _ = marked(drawn, found)
    at = next(shape.x0 for shape in histogram.layout.shapes if shape.type == "line")
    axis = drawn.axis
    width = axis.edges[1] - axis.edges[0]
    for scores, share in ((FAMILIAR, found.id.share), (UNFAMILIAR, found.ood_share)):
        assert share_left_of(axis, scores, at - width / 2) <= share + 1e-6
        assert share_left_of(axis, scores, at + width / 2) >= share - 1e-6


def test_ticks_are_ranks_and_point_at_their_place():
    sets = {"id": FAMILIAR, "far": UNFAMILIAR}
    figure = score_charts.histogram(Histograms.of(sets), colours=SetColours.of(["far"]))
    axis = figure.layout.xaxis
    named = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert {"0.1", "0.5", "0.9"} <= named.keys()
    assert named["0.5"] == pytest.approx(0, abs=1e-9)
    assert named["0.9"] == pytest.approx(np.log(9))
    assert axis.ticktext[0].startswith("≤ ") and axis.ticktext[-1].startswith("≥ 0.99")
    assert figure.data[0].customdata is not None


def test_the_report_draws_the_threshold_where_the_page_does(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    run = Run.load(write_run(tmp_path / "runs" / "demo", sets={"far": 4.0}, detectors={"a": 1.0}))
    table_path = run.path / "scores.parquet"
    table = pd.read_parquet(table_path)
    calibration = np.sort(table[table.role == "calibration"]["a"])
    table["a"] = (np.searchsorted(calibration, table["a"]) / 50).astype(np.float32)
    table.to_parquet(table_path, index=False)
    run = Run.load(run.path)
    report = report_of(run, decide(run, "a", Typed(value=0.9)), images=False)
    assert report.histogram.scale == "log-odds"
    svg = histogram_svg(report, 0, width=1000)
    (line,) = (each for each in ElementTree.fromstring(svg).iter() if each.get("stroke") == MARK)
    at = float(line.get("d").removeprefix("M").split()[0]) / 1000
    scores = run.scores("a")
    drawn = figures(
        Tradeoff.of(scores.pop("id"), scores), list(scores), colours=SetColours.of(scores)
    )
    first, last = drawn.axis.edges[[0, -1]]
    assert at == pytest.approx((drawn.axis.place(0.9) - first) / (last - first), abs=0.03)
    assert "≥ " in svg
    linear = report_of(run, default(run), images=False)
    assert type(linear).model_validate_json(linear.model_dump_json()) == linear
    assert to_html(linear)
