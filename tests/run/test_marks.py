"""What people said of single images: stored beside the run, and only of the images it was about."""

import json

import pandas as pd
import pytest
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.run import marks
from gsc_core.run.marks import Doubt, by_row, marked, marks_of, revision_of
from gsc_core.run.revised import without_marked
from gsc_core.run.stored import Revision, Run, version_of

CALIBRATION, FAMILIAR, SIGNS = 3, 60, 260


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.load(write_run(tmp_path / "demo", settings={"repeats": 20, "classes": 12}))


def mark(run: Run, rows: list[int], **said: object) -> None:
    made = marked(run, rows, **said)
    marks.store(run, marks.of_rows(run, rows), made)


def test_marks_are_stored_beside_the_run_whose_files_stay(run):
    before = version_of(run.path)
    assert marks_of(run) == ()
    assert without_marked(run) is None
    assert marks.version(run) == 0
    mark(run, [SIGNS, SIGNS + 1], doubt=Doubt.NOT_UNFAMILIAR, who="ann", note=" a sign ")
    mark(run, [FAMILIAR], label=7)
    first, second, third = marks_of(run)
    assert (first.set, first.file, first.who, first.note) == (
        "unseen-signs",
        "unseen-signs/00010.png",
        "ann",
        "a sign",
    )
    assert (third.set, third.label, third.doubt) == ("id", 7, None)
    assert list(by_row(run)) == [SIGNS, SIGNS + 1, FAMILIAR]
    assert by_row(run)[SIGNS + 1] == second
    revision = Revision(frozenset({SIGNS, SIGNS + 1}), frozenset({(FAMILIAR, 7)}))
    assert revision_of(by_row(run)) == revision
    assert without_marked(run).revision == revision
    assert version_of(run.path) == before
    assert json.loads((run.path / "marks.json").read_text())["version"] == 1
    assert not [path.name for path in run.path.iterdir() if path.name.startswith(".")]


def test_a_later_mark_adds_to_an_earlier_one_and_an_empty_one_takes_it_away(run):
    mark(run, [FAMILIAR], label=7, note="seven")
    mark(run, [FAMILIAR], doubt=Doubt.UNUSABLE)
    (both,) = marks_of(run)
    assert (both.label, both.note, both.doubt) == (7, "seven", Doubt.UNUSABLE)
    assert revision_of(by_row(run)) == Revision(frozenset({FAMILIAR}))
    marks.store(run, [both], ())
    assert marks_of(run) == ()


def test_a_note_alone_changes_no_figure(run):
    mark(run, [FAMILIAR], note="odd")
    assert without_marked(run) is None


def test_a_mark_is_of_an_image_and_not_of_its_place(run):
    mark(run, [SIGNS, SIGNS + 1], doubt=Doubt.UNUSABLE)
    table = pd.read_parquet(run.path / "scores.parquet")
    table.loc[SIGNS, "sha256"] = "0" * 64
    table.iloc[::-1].to_parquet(run.path / "scores.parquet", index=False)
    again = Run.load(run.path)
    assert list(by_row(again)) == [len(table) - 1 - (SIGNS + 1)]


def test_the_same_content_in_two_sets_is_two_images(run):
    table = pd.read_parquet(run.path / "scores.parquet")
    textures = table.index[table["set"] == "textures"][0]
    table.loc[textures, "sha256"] = table.loc[SIGNS, "sha256"]
    table.to_parquet(run.path / "scores.parquet", index=False)
    run = Run.load(run.path)
    mark(run, [SIGNS], doubt=Doubt.NOT_UNFAMILIAR)
    assert list(by_row(run)) == [SIGNS]


@pytest.mark.parametrize(
    ("rows", "said", "sentence"),
    [
        ([SIGNS], {"doubt": Doubt.NOT_FAMILIAR}, "is an unfamiliar image"),
        ([FAMILIAR, SIGNS], {"doubt": Doubt.NOT_UNFAMILIAR}, "is a familiar image"),
        ([CALIBRATION], {"doubt": Doubt.NOT_UNFAMILIAR}, "is a familiar image"),
        ([SIGNS], {"label": 3}, "has no class to correct"),
        ([FAMILIAR], {"label": 12}, "no class 12"),
        ([FAMILIAR], {"label": -1}, "no class -1"),
        ([FAMILIAR], {"note": "x" * 501}, "at most 500"),
        ([FAMILIAR], {"note": "  "}, "Nothing is said"),
        ([FAMILIAR], {"note": "\x1b[2Jgone"}, "cannot be shown"),
        ([FAMILIAR], {"note": "half \udcff"}, "cannot be shown"),
        ([FAMILIAR], {}, "Nothing is said"),
        ([10**6], {"note": "x"}, "has images 0 to"),
        ([-1], {"note": "x"}, "has images 0 to"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(run, rows, said, sentence):
    with pytest.raises(GscError, match=sentence):
        mark(run, rows, **said)
    assert not (run.path / "marks.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{}x", '{"format": "gsc-audit-marks", "version": 2, "marks": []}', '{"marks": 3}']
)
def test_marks_that_cannot_be_read_are_a_sentence_and_stay(run, text):
    (run.path / "marks.json").write_text(text)
    with pytest.raises(GscError, match="cannot be read"):
        marks_of(run)
    with pytest.raises(GscError, match="cannot be read"):
        mark(run, [SIGNS], doubt=Doubt.UNUSABLE)
    assert (run.path / "marks.json").read_text() == text


def test_there_are_not_too_many_and_what_is_marked_again_counts_once(run, monkeypatch):
    monkeypatch.setattr(marks, "MAX_MARKS", 2)
    with pytest.raises(GscError, match="at most 2 marked images"):
        mark(run, [SIGNS, SIGNS + 1, SIGNS + 2], doubt=Doubt.UNUSABLE)
    for doubt in (Doubt.UNUSABLE, Doubt.NOT_UNFAMILIAR):
        mark(run, [SIGNS, SIGNS + 1], doubt=doubt)
    assert [one.doubt for one in marks_of(run)] == [Doubt.NOT_UNFAMILIAR] * 2
    with pytest.raises(GscError, match="at most 2 marked images"):
        mark(run, [SIGNS + 2], doubt=Doubt.UNUSABLE)


def test_what_another_marked_meanwhile_is_not_overwritten(run):
    """Two browsers: each read the marks before the other's were stored."""
    ours, theirs = marked(run, [SIGNS], note="ours"), marked(run, [SIGNS], doubt=Doubt.UNUSABLE)
    elsewhere = marked(run, [SIGNS + 1], note="another image")
    marks.store(run, (), theirs)
    with pytest.raises(GscError, match="Somebody else has marked"):
        marks.store(run, (), ours)
    with pytest.raises(GscError, match="Somebody else has marked"):
        marks.store(run, ours, ())
    marks.store(run, (), elsewhere)
    assert marks_of(run) == (*theirs, *elsewhere)


def test_where_it_cannot_be_noted_nothing_is_stored(run):
    def full() -> None:
        raise GscError("The log is full.")

    with pytest.raises(GscError, match="The log is full"):
        marks.store(run, (), marked(run, [SIGNS], note="x"), noted=full)
    assert marks_of(run) == ()
