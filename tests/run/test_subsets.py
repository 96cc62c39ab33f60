"""Images that an address names: what comes back is what was named, and nothing else is taken."""

import math

import numpy as np
import pytest
from stored_run import write_run

from gsc_core.charts.scores import bars_of, histogram
from gsc_core.errors import GscError
from gsc_core.evaluation.histogram import Histograms, ScoreAxis
from gsc_core.run import decisions
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.run.subsets import (
    MAX_CORNERS,
    MAX_PICKED,
    Classified,
    Copies,
    DoubtedLabels,
    FamiliarLooking,
    OnMap,
    Picked,
    Scored,
    subset_of,
    within,
)

NOTICED = {
    "limit": 0.9,
    "copies": [
        {
            "set": "textures", "of": "id", "images": 2, "tested": 120, "near": 5, "looked_at": 5,
            "pairs": [
                {"row": 380, "of": 60, "likeness": 0.99},
                {"row": 381, "of": 60, "likeness": 0.98, "mirrored": True},
            ],
        }
    ],
    "familiar_looking": [{"set": "noise", "images": 1, "tested": 120, "rows": [500]}],
    "labels": {
        "images": 1, "labelled": 250,
        "doubts": [
            {"row": 55, "label": 1, "predicted": 2, "confidence": 0.9, "self_confidence": 0.01}
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "a"
    return Run.load(write_run(folder, set_checks=NOTICED))


EVERY = (
    Copies("textures", "id"),
    FamiliarLooking("noise"),
    DoubtedLabels(),
    Scored("energy", "textures", -math.inf, 1.25),
    OnMap(True, ((0.0, 0.0), (1.5, 0.0), (-2.0, 3.25))),
    Classified(3, "energy", 0.1, "judging"),
    Picked((3, 1, 2)),
)


@pytest.mark.parametrize("subset", EVERY, ids=lambda subset: subset.kind)
def test_an_address_brings_back_what_was_named(subset):
    assert subset_of(subset.text) == subset


def test_a_set_may_be_called_whatever_a_person_calls_it(run):
    odd = Scored("energy", "a/b?c=1&d#%2F <b>", 0.1 + 0.2, math.inf)
    assert subset_of(odd.text) == odd
    with pytest.raises(GscError, match="no set"):
        odd.rows(run)


@pytest.mark.parametrize(
    "text",
    [
        "", "nothing", "copies", "copies/a", "copies/a/b/c", "scores/energy/id/x/1", "map/fine/1,2",
        "map/fine/nan,0,1,1,2,2", "map/coarse/" + ",".join(["1"] * (2 * MAX_CORNERS + 2)),
        "picked/", "picked/1,x", "picked/" + ",".join(["1"] * (MAX_PICKED + 1)),
        "classified/1/energy/0/whatever", "classified/one/energy/0/all", "doubted-labels/x",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_one_sentence(text):
    with pytest.raises(GscError, match="does not name images"):
        subset_of(text)


@pytest.mark.parametrize(
    "subset",
    [
        Copies("noise", "id"), FamiliarLooking("textures"), Picked((10**6,)),
        Scored("other", "id", 0, 1), Classified(1, "other", 0),
        OnMap(True, ((0, 0), (1, 0), (1, 1))),
    ],
)  # fmt: skip
def test_what_the_run_does_not_have_is_one_sentence(run, subset):
    with pytest.raises(GscError):
        subset.rows(run)


def test_checks_are_shown_pair_by_pair_and_marked_on_one_side(run):
    copies = Copies("textures", "id")
    assert copies.rows(run).tolist() == [380, 60, 381]
    assert copies.doubted(run) == [380, 381]
    assert FamiliarLooking("noise").rows(run).tolist() == [500]
    assert DoubtedLabels().rows(run).tolist() == [55]


def test_the_bars_of_a_histogram_count_the_images_they_open(run):
    scores = run.scores("energy")
    colours = SetColours.of(run.ood_sets)
    shapes = Histograms.of(scores)
    bars, drawn = bars_of(shapes, colours=colours), histogram(shapes, colours=colours)
    for at, trace in enumerate(drawn.data):
        heights = np.asarray(trace.y)
        for bar in (0, 1, len(heights) // 2, len(heights) - 1):
            name = bars.sets[at]
            rows = Scored("energy", name, *bars.between(bar)).rows(run)
            assert len(rows) == round(float(heights[bar]) * len(scores[name]))


def test_mistakes_come_the_worst_first(run):
    threshold = decisions.current(run).value
    detector = decisions.current(run).detector
    scores = run.column(detector)
    missed = Scored(detector, "textures", -math.inf, threshold).rows(run)
    alarms = Scored(detector, "id", threshold, math.inf).rows(run)
    assert len(missed) and (scores[missed] <= threshold).all()
    assert len(alarms) and (scores[alarms] > threshold).all()
    assert (np.diff(scores[missed]) >= 0).all() and (np.diff(scores[alarms]) <= 0).all()


@pytest.mark.parametrize("trial", [True, False])
def test_a_class_opens_as_many_images_as_its_bar_counts(run, trial):
    decision = decisions.current(run)
    for effect in decisions.effect_by_class(run, decision, trial=trial):
        part = decisions.part_of(decision, trial=trial)
        of_class = Classified(effect.index, decision.detector, decision.value, part)
        assert len(of_class.rows(run)) == effect.unnoticed


def test_an_area_holds_what_lies_in_it(run):
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (500, 2))
    corners = ((-0.5, -0.5), (0.75, -0.25), (0.1, 0.8))

    def side(a, b):
        return (b[0] - a[0]) * (places[:, 1] - a[1]) - (b[1] - a[1]) * (places[:, 0] - a[0]) > 0

    sides = [side(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    assert np.array_equal(within(places, corners), np.logical_and.reduce(sides))
    box = OnMap.area(False, [-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 0.0, 0.0]).corners
    assert np.array_equal(within(places, box), places[:, 1] < 0)


def test_a_long_lasso_is_cut_to_what_an_address_holds():
    turns = np.linspace(0, 2 * np.pi, 400)
    area = OnMap.area(False, np.cos(turns).tolist(), np.sin(turns).tolist())
    assert len(area.corners) == MAX_CORNERS and len(area.text) < 800


def test_ranks_have_bars_too():
    rng = np.random.default_rng(1)
    sets = {"id": rng.uniform(0, 1, 300), "x": np.r_[rng.uniform(0, 1, 60), np.ones(200)]}
    colours = SetColours.of(["x"])
    assert ScoreAxis.of(list(sets.values()), 60).by_log_odds
    bars = bars_of(Histograms.of(sets), colours=colours)
    ends = [bars.between(bar) for bar in range(len(bars.edges) - 1)]
    inside = [((sets["x"] > low) & (sets["x"] <= high)).sum() for low, high in ends]
    assert sum(inside) == 260
