"""Images marked in the app: by whom, in the log, undone."""

import pytest
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.files import sole_writer_of
from gsc_core.run.marks import Doubt, by_row
from gsc_core.run.stored import Run
from gsc_core.team import acting, journal
from gsc_core.team.journal import Event, Wanted
from gsc_core.team.roles import Person, Role
from gsc_core.workspace import run_marks

ANN = Person("ann@example.org", Role.AUDITOR)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return Run.load(write_run(tmp_path / "runs" / "demo", settings={"classes": 12}))


def test_who_marked_is_kept_and_logged_and_undone(run):
    with acting.acting_as(ANN):
        assert run_marks.mark(run, [260, 261, 262, 263], doubt=Doubt.NOT_UNFAMILIAR).before == ()
        change = run_marks.mark(run, [260, 300], doubt=Doubt.UNUSABLE, note="torn")
    assert [one.doubt for one in change.before] == [Doubt.NOT_UNFAMILIAR]
    stored = by_row(run)
    assert {one.who for one in stored.values()} == {"ann@example.org"}
    assert stored[260].doubt is stored[300].doubt is Doubt.UNUSABLE
    newest, first = journal.read(Wanted(events=(Event.MARKED,))).entries
    assert (newest.person, newest.subject) == ("ann@example.org", "demo")
    assert newest.detail.startswith("2 as unusable and a note: unseen-signs/")
    assert first.detail.startswith("4 as not unfamiliar:")
    assert first.detail.endswith("and 1 more")
    run_marks.undo(run, change)
    assert sorted(by_row(run)) == [260, 261, 262, 263]
    assert by_row(run)[260].doubt is Doubt.NOT_UNFAMILIAR
    assert len(run_marks.unmark(run, [260, 261, 262, 263, 300]).before) == 4
    assert run_marks.unmark(run, [260]).before == ()
    assert by_row(run) == {}


def test_undo_takes_back_nothing_that_another_said_since(run):
    ours = run_marks.mark(run, [260, 261], doubt=Doubt.NOT_UNFAMILIAR)
    with acting.acting_as(ANN):
        run_marks.mark(run, [261], note="a real sign")
    said = len(journal.read(Wanted(events=(Event.MARKED,))).entries)
    with pytest.raises(GscError, match="Somebody else has marked"):
        run_marks.undo(run, ours)
    assert by_row(run)[261].note == "a real sign"
    assert len(by_row(run)) == 2
    assert len(journal.read(Wanted(events=(Event.MARKED,))).entries) == said


def test_what_is_refused_is_neither_stored_nor_logged(run):
    with pytest.raises(GscError, match="unfamiliar image"):
        run_marks.mark(run, [260], doubt=Doubt.NOT_FAMILIAR)
    busy = "busy"
    with (
        sole_writer_of(run.path / "marks.json", busy),
        pytest.raises(GscError, match="Somebody else"),
    ):
        run_marks.mark(run, [260], doubt=Doubt.UNUSABLE)
    assert by_row(run) == {}
    assert not journal.read(Wanted(events=(Event.MARKED,))).entries
