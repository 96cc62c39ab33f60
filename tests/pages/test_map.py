"""The map of the images, the card about the image sets, and where charts lead."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from opened_page import opened, words
from stored_run import write_features, write_run
from streamlit.testing.v1 import AppTest

from gsc_core.charts.classes import class_of_bar
from gsc_core.charts.image_map import (
    CLASS,
    COLOURINGS,
    DECISION,
    SCORE,
    SET,
    STEPS,
    Drawing,
    Frame,
    image_map,
)
from gsc_core.charts.scores import bars_of
from gsc_core.evaluation.histogram import Histograms
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.run import decisions
from gsc_core.run.gallery import class_name, run_images
from gsc_core.run.image_map import MOST, ImageMap, principal_map, write_map
from gsc_core.run.marks import Doubt, by_row
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.run.subsets import OnMap, Picked, Scored, Subset
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
    assert [look["name"] for look in canvas(app)["looks"]][:2] == [
        "Calibration images",
        "Familiar images",
    ]


def test_a_run_of_before_says_so(home):
    write_run(home / "a")
    app = opened("images", run="a", images_view="Map")
    assert "made before the app kept what a map is drawn from" in words(app)
    assert not app.get("bidi_component") and not queue.jobs(kinds=(Kind.MAP,))


@pytest.mark.parametrize("colouring", COLOURINGS)
def test_every_point_is_drawn_once_where_it_lies_and_says_its_image(run, colouring):
    of = principal_map(run)
    drawn = image_map(run, of, decisions.current(run), colouring)
    assert drawn.rows == of.rows.tolist() and len({*drawn.rows}) == len(of.rows)
    back = Frame.of(of).places([*zip(drawn.x, drawn.y, strict=True)])
    side = (of.places.max(axis=0) - of.places.min(axis=0)).max()
    np.testing.assert_allclose(back, of.places, atol=1.01 * side / STEPS / 2)
    assert min(drawn.x + drawn.y) == 0 and max(drawn.x + drawn.y) == STEPS
    images = run_images(run, of.rows)
    for image, predicted, sure in zip(images, drawn.predicted, drawn.sure, strict=True):
        assert drawn.classes[predicted] == class_name(run, image.predicted)
        assert abs(sure - 100 * image.confidence) <= 0.5


def test_a_look_says_what_its_points_have_in_common(run):
    of, decision = principal_map(run), decisions.current(run)
    images = run_images(run, of.rows)
    unfamiliar = [image.set in run.ood_sets for image in images]
    names = {"calibration": "Calibration images", "id": "Familiar images"}
    assert named(image_map(run, of, decision, SET)) == [
        names.get(image.set, image.set) for image in images
    ]
    scores = run.column(decision.detector)[of.rows]
    assert named(image_map(run, of, decision, DECISION)) == [
        f"{'Unfamiliar' if out else 'Familiar'}, "
        f"{'flagged' if score > decision.value else 'accepted'}"
        for out, score in zip(unfamiliar, scores, strict=True)
    ]
    familiar = run.column(decision.detector)[run.rows_of(["id"])]
    for score, name in zip(scores, named(image_map(run, of, decision, SCORE)), strict=True):
        low, high = (int(part.split()[0]) / 100 for part in name.split(" to "))
        share = np.mean(familiar < score)
        assert low <= share < high or share == high == 1
    by_class = named(image_map(run, of, decision, CLASS))
    for image, name in zip(images, by_class, strict=True):
        assert name in (class_name(run, image.predicted), "other classes")


def named(drawn: Drawing) -> list[str]:
    """What the legend calls each point."""
    return [drawn.looks[look].name for look in drawn.look]


def test_as_many_points_as_there_may_be_are_a_light_page(home):
    folder = write_run(home / "b", n=3000, m=3000, settings={"class_names": ["a" * 40] * 12})
    write_features(folder)
    run = Run.load(folder)
    of = principal_map(run)
    assert len(of.rows) == MOST
    for colouring in COLOURINGS:
        drawn = image_map(run, of, decisions.current(run), colouring)
        assert len(json.dumps(drawn.as_data())) < 200_000


def test_what_a_browser_says_is_selected_is_an_area_or_a_point_of_this_map_or_nothing():
    of = ImageMap(np.array([4, 7, 9]), np.array([[1, 2], [3, 2], [1, 3]], dtype=np.float32))

    def of_said(said: object) -> Subset | None:
        return selected(said, "this", of, fine=True)

    area = [[0, 0], [STEPS, 0], [0, STEPS / 2]]
    assert of_said({"generation": "this", "area": area}) == OnMap(True, ((1, 2), (3, 2), (1, 3)))
    assert of_said({"generation": "this", "row": 7}) == Picked((7,))
    assert of_said({"generation": "before", "row": 7}) is None
    for row in (5, "7", True, None, [7]):
        assert of_said({"generation": "this", "row": row}) is None
    nowhere = ([], area[:2], [*area, "x"], [*area, [1]], [*area, [1, math.nan]], [*area, [1, "2"]])
    for wrong in (*nowhere, [*area, [1, math.inf]], area * 100, {"x": 1}):
        assert of_said({"generation": "this", "area": wrong}) is None
    for said in (None, "row", [], 7, {}):
        assert of_said(said) is None


def canvas(app: AppTest) -> dict:
    """What the map is told to draw."""
    told = (json.loads(part.proto.json) for part in app.get("bidi_component"))
    (drawn,) = (each for each in told if "looks" in each)
    return drawn


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
    bars = bars_of(Histograms.of(run.scores(detector)), colours=SetColours.of(run.ood_sets))

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


def test_a_bar_of_a_class_says_which():
    assert class_of_bar([{}, {"customdata": [3]}, {"customdata": 4}]) == 3
    assert class_of_bar([{"customdata": 4}]) == 4
    assert class_of_bar([]) is None and class_of_bar([{"customdata": None}]) is None


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
