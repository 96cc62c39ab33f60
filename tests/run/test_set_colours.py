"""Every set has one look in all charts of a run: on the pages and in the report, drawn or not."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from opened_page import opened
from stored_run import write_run

from gsc_core.report import figures
from gsc_core.report.build import MAX_DRAWN, report_of
from gsc_core.run import decisions
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run

pytestmark = pytest.mark.slow

NAMES = [f"set {letter}" for letter in "nmlkjihgfedcba"]  # not in the order of the alphabet
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    sets = {name: 0.5 + i / 4 for i, name in enumerate(NAMES)}
    return Run.load(write_run(tmp_path / "runs" / "demo", sets=sets, n=80, m=40))


def on_page(chart) -> dict[str, str]:
    """The colour of each named trace of one Plotly chart."""
    traces = json.loads(chart.proto.spec)["data"]
    return {
        each["name"]: (each.get("line") or {}).get("color") or each["marker"]["color"]
        for each in traces
    }


def test_page_and_report_agree_on_all_sets_that_are_drawn(run):
    drawn = NAMES[:MAX_DRAWN]
    page = opened("results", run="demo", results_detector="energy")
    assert not page.exception
    histogram, line = (on_page(chart) for chart in page.get("plotly_chart")[1:3])
    assert set(line) == set(drawn)
    assert {name: histogram[name] for name in drawn} == line
    assert len(set(line.values())) == MAX_DRAWN

    report = report_of(run, decisions.current(run), images=False)
    assert [one.name for one in report.roc] == drawn
    curves = list(ElementTree.fromstring(figures.roc_svg(report)).iter(f"{SVG}polyline"))
    assert [curve.get("stroke") for curve in curves] == [line[name] for name in drawn]
    for i, name in enumerate(drawn):
        bars = list(ElementTree.fromstring(figures.histogram_svg(report, i)).iter(f"{SVG}path"))
        assert bars[1].get("fill") == line[name]
        assert f'stroke="{line[name]}"' in figures.swatch_svg(report, name)


def test_the_thresholds_page_draws_any_set_as_the_others_do(run):
    colours = SetColours.of(run.ood_sets)
    page = opened("thresholds", run="demo")
    for name in (NAMES[0], NAMES[5], NAMES[13]):
        page.selectbox(key="threshold_set").select(name).run()
        assert not page.exception
        histogram, roc = (on_page(chart) for chart in page.get("plotly_chart")[:2])
        assert histogram[name] == roc[name] == colours.colour(name)


def test_one_report_without_the_others_keeps_the_looks(run):
    """The report's own data are enough: whoever reads its JSON draws the same."""
    report = report_of(run, decisions.current(run), images=False)
    again = type(report).model_validate_json(report.model_dump_json())
    assert figures.roc_svg(again) == figures.roc_svg(report)
    order = [one.name for one in again.decision.strangers]
    assert order == list(run.ood_sets) == NAMES
    assert np.unique([SetColours.of(order).colour(name) for name in NAMES[:12]]).size == 12
