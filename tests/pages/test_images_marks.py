"""What is done with images in the gallery: selected, marked, undone, exported; figures follow."""

import numpy as np
import pytest
from opened_page import opened, tiles, words
from pictured_run import write_pictured_run
from streamlit.testing.v1 import AppTest
from uploads import work

from gsc_core.jobs.database import Readiness
from gsc_core.run import decisions
from gsc_core.run.marks import Doubt, by_row
from gsc_core.run.mistakes import Mistakes, mistakes, worst_missed
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Person, Role
from gsc_core.workspace import imagesets, run_marks
from pages.parts.shared.image_grid import _checked

FAMILIAR, SIGNS = 50, 62


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return Run.load(write_pictured_run(tmp_path / "runs" / "demo"))


def selecting(app: AppTest, *rows: int) -> AppTest:
    """The page as it is when the grid said that these are selected."""
    app.session_state["images_selected"] = ("demo", frozenset(rows))
    return app.run()


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button if button.key}


def missed_and_false_alarms(run: Run) -> tuple[list[int], list[int]]:
    """Rows of both, the worst first, sorted anew."""
    standing, rows = decisions.current(run), run.members().by_name
    scores = run.column(standing.detector)
    ood = [row for name in run.ood_sets for row in rows[name].tolist()]
    missed = [row for row in sorted(ood) if scores[row] <= np.float64(standing.value)]
    alarms = [row for row in rows["id"].tolist() if scores[row] > np.float64(standing.value)]
    found = (
        sorted(missed, key=lambda row: scores[row]),
        sorted(alarms, key=lambda row: -scores[row]),
    )
    assert mistakes(run, standing) == Mistakes(len(missed), len(alarms))
    assert worst_missed(run, standing.detector, standing.value, "all", 5) == tuple(found[0][:5])
    return found


def test_mistakes_come_first_and_say_so(run):
    missed, false_alarms = missed_and_false_alarms(run)
    app = opened("images", images_show="missed")
    assert not app.exception
    shown = tiles(app)
    assert [tile["row"] for tile in shown] == missed
    assert {tile["state"] for tile in shown} == {"missed"}
    assert shown[0]["badge"] == "✕ missed" and shown[0]["src"].startswith("data:image/jpeg")
    assert "which is a miss" in shown[0]["alt"]
    labels = app.segmented_control(key="images_show").options
    assert labels[1] == f"Missed ({len(missed)})"
    app.segmented_control(key="images_show").set_value("alarms").run()
    assert [tile["row"] for tile in tiles(app)] == false_alarms
    assert app.query_params["images_show"] == "alarms"
    assert {tile["state"] for tile in tiles(app)} <= {"alarm"}
    assert tiles(opened("images", images_show="nonsense"))


def test_a_tile_says_the_share_of_familiar_images_below_it(run):
    familiar = run.scores("gsc")["id"]
    for tile in tiles(opened("images")):
        share = 100 * (familiar <= run.column("gsc")[tile["row"]]).mean()
        assert tile["second"] == f"above {share:.0f} % of familiar"


def test_a_search_finds_a_part_of_a_name(run):
    app = opened("images")
    app.text_input(key="images_name").set_value("SIGNS/0000").run()
    assert sorted(tile["row"] for tile in tiles(app)) == list(range(SIGNS, SIGNS + 10))
    app.text_input(key="images_name").set_value("(.*").run()
    assert not app.exception and "No image matches" in words(app)


def test_images_are_marked_and_the_mark_is_undone(run):
    app = selecting(opened("images"), SIGNS, SIGNS + 1, FAMILIAR)
    assert "3 selected" in words(app)
    app.button(key="images_mark_not_unfamiliar").click().run()
    assert not app.exception
    assert "2 images marked: not unfamiliar; the mark does not apply to the other 1." in words(app)
    assert {row: mark.doubt for row, mark in by_row(run).items()} == {
        SIGNS: Doubt.NOT_UNFAMILIAR,
        SIGNS + 1: Doubt.NOT_UNFAMILIAR,
    }
    marked = {tile["row"] for tile in tiles(app) if tile["mark"] == "not unfamiliar"}
    assert marked == {SIGNS, SIGNS + 1}
    assert "images_mark_unusable" not in keys(app)  # nothing is selected any more
    app.button(key="images_undo").click().run()
    assert by_row(run) == {}
    assert "images_undo" not in keys(app)


def test_what_cannot_be_undone_says_why_and_offers_it_no_longer(run):
    app = selecting(opened("images"), SIGNS)
    app.button(key="images_mark_not_unfamiliar").click().run()
    run_marks.mark(run, [SIGNS], note="somebody else's")
    app.button(key="images_undo").click().run()
    assert not app.exception
    assert [error.value for error in app.error]
    assert "images_undo" not in keys(app) and "1 image marked" not in words(app)
    assert by_row(run)[SIGNS].note == "somebody else's"


def test_a_class_is_corrected_and_a_note_kept(run):
    app = selecting(opened("images"), FAMILIAR)
    app.selectbox(key="images_mark_class").set_value(2).run()
    app.button(key="images_mark_label").click().run()
    app = selecting(app, FAMILIAR)
    app.text_input(key="images_mark_note").set_value("an <b>owl</b>").run()
    app.button(key="images_mark_save_note").click().run()
    assert not app.exception
    (mark,) = by_row(run).values()
    assert (mark.label, mark.note, mark.doubt) == (2, "an <b>owl</b>", None)
    one = opened("images", image=str(FAMILIAR))
    assert "shows owl; an <b>owl</b>" in words(one)
    one.button(key="images_unmark").click().run()
    assert by_row(run) == {}


def test_both_figures_are_said_and_shown(run):
    missed, _ = missed_and_false_alarms(run)
    rows = missed[:3]
    assert "As audited" not in words(opened("results"))
    run_marks.mark(run, rows, doubt=Doubt.NOT_UNFAMILIAR)
    before, after = len(missed), len(missed) - 3
    sentence = "3 images are left out (3 not unfamiliar)"
    for page in ("results", "thresholds"):
        app = opened(page)
        assert not app.exception
        assert sentence in words(app)
        assert f"As audited, {1000 * before / 10:.0f} of 1,000" in words(app)
        app.segmented_control(key="figures").set_value("marked").run()
        assert not app.exception
    assert "threshold_save" not in keys(app)
    links = [link.proto.label for link in opened("results").get("page_link")]
    assert f"Missed: {before} images" in links
    app = opened("results", figures="Without marked images")
    links = [link.proto.label for link in app.get("page_link")]
    assert (f"Missed: {after} images" if after != 1 else "Missed: 1 image") in links


def test_a_new_set_is_made_of_what_is_left(run):
    run_marks.mark(run, [SIGNS, SIGNS + 1], doubt=Doubt.UNUSABLE)
    app = opened("images", images_show="marked")
    assert "signs: without the marked images, 8 of 10 are left." in words(app)
    key = b"signs".hex()
    app.button(key=f"images_rest_make_{key}").click().run()
    app.button(key=f"images_rest_make_{key}").click().run()
    assert not app.exception
    work()
    (made,) = imagesets.list_sets()
    assert (made.name, made.images) == ("signs, 2 left out", 8)
    assert made.readiness is Readiness.READY


@pytest.mark.slow
def test_damaged_marks_hide_no_image_and_are_not_overwritten(run):
    file = run.path / "marks.json"
    file.write_text('{"format": "gsc-audit-marks", "version": 9}')
    for view in ({}, {"images_only": "picked/50,62"}, {"image": str(SIGNS)}):
        app = opened("images", **view)
        assert not app.exception
        assert "The marks of run" in "".join(one.value for one in app.warning)
        assert "image" in view or tiles(app)
    app.button(key="images_mark_unusable").click().run()
    assert "or move the file away" in "".join(one.value for one in app.error)
    assert "9" in file.read_text()
    for page in ("results", "thresholds"):
        app = opened(page)
        assert not app.exception and "The marks of run" in words(app)


def test_a_reader_sees_marks_and_sets_none(run, monkeypatch):
    run_marks.mark(run, [SIGNS], doubt=Doubt.UNUSABLE)
    reader = Person("rita@example.org", Role.READER)
    monkeypatch.setattr(acting._Asking, "who", staticmethod(lambda: reader))
    app = selecting(opened("images"), SIGNS)
    assert not app.exception
    assert not {key for key in keys(app) if "mark" in key}
    assert [tile["row"] for tile in tiles(app) if tile["mark"]] == [SIGNS]


@pytest.mark.parametrize(
    ("said", "opened_row", "selected"),
    [
        ({}, None, None),
        ({"opened": 2}, 2, None),
        ({"opened": 9}, None, None),
        ({"opened": True}, None, None),
        ({"opened": "2"}, None, None),
        ({"selected": {"generation": "g", "rows": [1, 9]}}, None, {1}),
        ({"selected": {"generation": "old", "rows": [1]}}, None, None),
        ({"selected": {"generation": "g", "rows": ["1"]}}, None, None),
        ({"selected": {"generation": "g", "rows": {"1": 1}}}, None, None),
        ({"selected": [1]}, None, None),
    ],
)
def test_of_what_a_browser_says_only_rows_that_it_was_shown_count(said, opened_row, selected):
    answer = _checked(said, [1, 2], "g")
    assert answer.opened == opened_row
    assert answer.selected == selected


def test_names_are_asked_for_and_used(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    write_pictured_run(tmp_path / "runs" / "demo", names=None)
    app = opened("results")
    app.text_area(key="class_names_text").set_value("cat\ndog").run()
    app.button(key="class_names_use").click().run()
    assert "3 classes, but there are 2 names" in words(app)
    app.text_area(key="class_names_text").set_value("cat\ndog\nowl").run()
    app.button(key="class_names_use").click().run()
    assert not app.exception
    assert not [area for area in app.text_area if area.key == "class_names_text"]
    assert {tile["first"].rpartition(" ")[2] for tile in tiles(opened("images"))} == {
        *("cat", "dog", "owl")
    }
