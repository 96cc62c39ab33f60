"""The map of the images, the card about the image sets, and where charts lead."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from opened_page import opened, words
from stored_run import write_features, write_run

from gsc_core.charts.image_map import COLOURINGS, image_map, rows_of_points
from gsc_core.charts.scores import bars_of
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.run import decisions
from gsc_core.run.image_map import MOST, ImageMap, principal_map, write_map
from gsc_core.run.marks import Doubt, by_row
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.run.subsets import OnMap, Picked, Scored
from pages.parts.images.map import selected
from pages.parts.results.selected import of_bar, of_point

pytestmark = pytest.mark.slow

PAIRS = [{"row": 500 + at, "of": 60 + at, "likeness": 0.99} for at in range(2)]
NOTICED = {
    "limit": 0.9,
    "copies": [
        {"set": "noise", "of": "id", "images": 2, "tested": 120, "near": 2, "looked_at": 2}
        | {"pairs": PAIRS}
    ],
    "familiar_looking": [{"set": "textures", "images": 1, "tested": 120, "rows": [400]}],
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


@pytest.fixture
def run(home) -> Run:
    folder = write_run(home / "a", set_checks=NOTICED)
    write_features(folder)
    return Run.load(folder)


# --- the map ---------------------------------------------------------------------------------


def test_a_sketch_is_there_at_once_and_the_finer_map_is_asked_for_once(run):
    app = opened("images", run="a", images_view="Map")
    assert not app.exception
    assert "All 610 images. A first sketch" in words(app)
    opened("images", run="a", images_view="Map")
    assert len(queue.jobs(kinds=(Kind.MAP,))) == 1
    write_map(run, principal_map(run))
    app = opened("images", run="a", images_view="Map")
    assert "Images that the network finds alike lie together" in words(app)
    (chart,) = app.get("plotly_chart")
    drawn = json.loads(chart.proto.spec)
    assert [trace["name"] for trace in drawn["data"]][:2] == [
        "Calibration images",
        "Familiar images",
    ]


def test_a_run_of_before_says_so(home):
    write_run(home / "a")
    app = opened("images", run="a", images_view="Map")
    assert "made before the app kept what a map is drawn from" in words(app)
    assert not app.get("plotly_chart") and not queue.jobs(kinds=(Kind.MAP,))


@pytest.mark.parametrize("colouring", COLOURINGS)
def test_every_point_is_drawn_once_and_says_its_row(run, colouring):
    of = principal_map(run)
    figure = image_map(run, of, decisions.current(run), colouring)
    rows = np.concatenate([np.asarray(trace.customdata) for trace in figure.data])
    assert sorted(rows.tolist()) == of.rows.tolist()
    places = dict(zip(of.rows.tolist(), of.places.tolist(), strict=True))
    trace = max(figure.data, key=lambda trace: len(trace.x))
    drawn = zip(trace.customdata, trace.x, trace.y, trace.text, strict=True)
    assert all([x, y] == places[int(row)] and text for row, x, y, text in drawn)


def test_as_many_points_as_there_may_be_are_a_light_page(home):
    folder = write_run(home / "b", n=3000, m=1500, settings={"class_names": ["a" * 40] * 12})
    write_features(folder)
    run = Run.load(folder)
    of = principal_map(run)
    assert len(of.rows) == MOST
    for colouring in COLOURINGS:
        figure = image_map(run, of, decisions.current(run), colouring)
        assert len(figure.to_json()) < 500_000


def test_what_is_selected_is_an_area_or_single_points():
    lasso = {"x": [0.0, 1.0, 1.0], "y": [0.0, 0.0, 2.0]}
    assert selected({"lasso": [lasso]}, fine=True) == OnMap(True, ((0, 0), (1, 0), (1, 2)))
    box = selected({"box": [{"x": [0.0, 2.0], "y": [1.0, 3.0]}]}, fine=False)
    assert box == OnMap(False, ((0, 1), (2, 1), (2, 3), (0, 3)))
    points = [{"customdata": [7]}, {"customdata": 9}, {"customdata": None}, {}]
    assert rows_of_points(points) == [7, 9]
    assert selected({"points": points}, fine=True) == Picked((7, 9))
    assert selected({}, fine=True) is None


# --- where charts lead -----------------------------------------------------------------------


def test_an_address_shows_its_images_alone_and_leads_back_to_all(run):
    write_map(run, ImageMap(np.arange(610), np.column_stack([np.arange(610), np.zeros(610)])))
    area = OnMap(True, ((9.5, -1.0), (12.5, -1.0), (12.5, 1.0), (9.5, 1.0)))
    app = opened("images", run="a", images_only=area.text)
    assert "The images in the area that was selected on the map" in words(app)
    assert "3 images, 1 to 3 shown" in words(app)
    app.button(key="images_not_only").click().run()
    assert "560 images" in words(app)
    app = opened("images", run="a", images_only="<script>")
    assert [error.value for error in app.error] and "does not name images" in words(app)


def test_a_bar_and_a_point_open_the_images_they_count(run):
    detector = decisions.current(run).detector
    bars = bars_of(run.scores(detector), colours=SetColours.of(run.ood_sets))

    def event(**point):
        return SimpleNamespace(selection={"points": [point]})

    for trace in (2, 3):  # they lie over each other
        unfamiliar, familiar = of_bar(detector, bars, event(curve_number=trace, point_index=4))
        assert unfamiliar == Scored(detector, sorted(run.ood_sets)[1], *bars.between(4))
        assert familiar == Scored(detector, "id", *bars.between(4))
    missed, alarms = of_point(run, detector, event(curve_number=0, customdata=[0.5]))
    assert missed == Scored(detector, sorted(run.ood_sets)[0], -math.inf, 0.5)
    assert alarms == Scored(detector, "id", 0.5, math.inf)
    assert not [*of_point(run, detector, event(curve_number=0, customdata=None))]
    assert not [*of_bar(detector, bars, SimpleNamespace(selection={}))]


def test_the_classes_that_swallow_most_are_shown_with_their_images(run):
    app = opened("thresholds", run="a")
    app.session_state["threshold_classes_open"] = True
    app.run()
    assert not app.exception
    assert "Which classes swallow unfamiliar images" in words(app)
    assert "Accepted unfamiliar images that are classified as class" in words(app)


# --- the card --------------------------------------------------------------------------------


def test_the_card_is_there_when_there_is_something_to_look_at(run, home):
    app = opened("results", run="a")
    assert not app.exception
    assert "2 of 120 images of noise are nearly the same as familiar test images" in words(app)
    assert "1 of 120 images of textures looks familiar in every respect" in words(app)
    write_run(home / "old")
    write_run(home / "clean", set_checks={"limit": 0.9})
    for other in ("old", "clean"):
        assert "Look at your image sets first" not in words(opened("results", run=other))


def test_copies_are_marked_with_one_press_and_the_images_they_copy_are_not(run):
    app = opened("results", run="a")
    app.button(key="results_mark_0").click().run()
    assert not app.exception
    marks = by_row(run)
    assert {row: mark.doubt for row, mark in marks.items()} == {
        500: Doubt.NOT_UNFAMILIAR,
        501: Doubt.NOT_UNFAMILIAR,
    }
    assert "All 2 are marked" in words(app)
    assert "results_mark_0" not in [button.key for button in app.button]
    assert "results_mark_1" not in [button.key for button in app.button]  # to be looked at first
