"""What is deleted can be restored as it was for seven days, whatever is killed meanwhile."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filled_workspace import fill
from places import ROOT
from sqlmodel import select
from stored_run import write_run

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Deleted, Kind, State, session
from gsc_core.team import acting, journal
from gsc_core.team.journal import Event, Wanted
from gsc_core.team.roles import Person, Role
from gsc_core.workspace import history, imagesets, models, shares, trash
from gsc_core.workspace.cleanup import tidy

ANN = Person("ann@example.org", Role.AUDITOR)
BOB = Person("bob@example.org", Role.AUDITOR)
RITA = Person("rita@example.org", Role.READER)
OLGA = Person("olga@example.org", Role.OPERATOR)
DAY = 86_400.0


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """A workspace of Ann's, with a model, sets and a finished run."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    with acting.acting_as(ANN):
        fill(tmp_path / "stage")
        job = queue.submit(Kind.AUDIT, "the run", "run1", {})
    assert queue.claim(job.lane, 1) is not None
    queue.end(job.id, State.DONE)
    write_run(tmp_path / "home" / "runs" / "run1")
    yield tmp_path / "home"


def contents(home: Path) -> dict[str, str]:
    """All files but the index and the log, with their digests."""
    return {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in home.rglob("*")
        if file.is_file() and file.parent != home
    }


def records() -> list[object]:
    """All records of the index as they are."""
    everything = [*models.list_models(), *imagesets.list_sets(), *queue.jobs()]
    return sorted((record.model_dump_json() for record in everything), key=str)


def delete_all() -> None:
    history.delete_run("run1")
    models.delete_model(models.list_models()[0].id)
    for stored in imagesets.list_sets():
        imagesets.delete_set(stored.id)


@pytest.mark.slow
def test_what_is_restored_is_what_was_deleted(home):
    before, files = records(), contents(home)
    with acting.acting_as(ANN):
        delete_all()
        assert not models.list_models()
        assert not imagesets.list_sets()
        assert not history.history()
        entries = trash.entries()
        assert [entry.what for entry in entries].count("set") == 4
        assert {entry.by for entry in entries} == {"ann@example.org"}
        for entry in entries:
            trash.restore(entry.id)
        assert not trash.entries()
    assert (records(), contents(home)) == (before, files)
    said = [entry.event for entry in journal.read(Wanted(person="ann@example.org")).entries]
    assert said.count(Event.DELETED) == said.count(Event.RESTORED) == 6


@pytest.mark.slow
def test_after_seven_days_the_cleanup_removes_it(home):
    with acting.acting_as(ANN):
        delete_all()
    trash.empty(time.time() + 6.99 * DAY)
    assert contents(home)
    with session() as db:
        assert len(db.exec(select(Deleted)).all()) == 6
    trash.empty(time.time() + 7.01 * DAY)
    assert not contents(home)
    with session() as db:
        assert not db.exec(select(Deleted)).all()


@pytest.mark.slow
def test_a_worker_empties_it(home, monkeypatch):
    with acting.acting_as(ANN):
        delete_all()
    monkeypatch.setenv("GSC_TRASH_DAYS", "1e-9")
    tidy()
    assert not contents(home)


@pytest.mark.slow
@pytest.mark.parametrize("person", [BOB, RITA])
def test_who_may_not_delete_neither_deletes_nor_restores(home, person):
    before = records(), contents(home)
    with acting.acting_as(person):
        for delete in (
            lambda: history.delete_run("run1"),
            lambda: models.delete_model(models.list_models()[0].id),
            lambda: imagesets.delete_set(imagesets.list_sets()[0].id),
        ):
            with pytest.raises(acting.NotAllowedError):
                delete()
    assert (records(), contents(home)) == before
    with acting.acting_as(ANN):
        delete_all()
        (entry, *_) = trash.entries()
    with acting.acting_as(person):
        assert not trash.entries()
        for act in (trash.restore, trash.remove):
            with pytest.raises(acting.NotAllowedError):
                act(entry.id)
    with acting.acting_as(OLGA):
        assert len(trash.entries()) == 6
        trash.restore(entry.id)


@pytest.mark.slow
def test_removing_for_good_takes_the_files_and_no_others(home):
    with acting.acting_as(ANN):
        history.delete_run("run1")
        (entry,) = trash.entries()
        trash.remove(entry.id)
        with pytest.raises(GscError, match="no longer in the trash"):
            trash.restore(entry.id)
    assert not list((home / "runs").iterdir())
    assert any((home / "models").iterdir())


@pytest.mark.slow
def test_a_model_file_that_another_record_is_of_stays(home):
    with acting.acting_as(ANN):
        (first,) = models.list_models()
        with models.spec_of(first).checkpoint.open("rb") as file:
            second = models.add_model(file, "small.pt2", name="again")
        queue.cancel(queue.latest(second.id).id)
        for each in (first, second):
            models.delete_model(each.id)
        later, earlier = trash.entries()
        trash.remove(earlier.id)
        assert any((home / "models").iterdir()), "the other may be restored yet"
        trash.remove(later.id)
    assert not list((home / "models").iterdir())


@pytest.mark.slow
def test_what_stands_in_its_place_is_left_alone(home):
    with acting.acting_as(ANN):
        (photos,) = (each for each in imagesets.list_sets("id") if each.name == "photos")
        imagesets.delete_set(photos.id)
        imagesets.register(Path(photos.folder), name="photos", role="id", origin="a test")
        history.delete_run("run1")
        write_run(home / "runs" / "run1")
        for entry in trash.entries():
            with pytest.raises(GscError, match="has taken the place of"):
                trash.restore(entry.id)
        assert len(trash.entries()) == 2


@pytest.mark.slow
def test_shares_of_a_deleted_run_stay_revoked(home):
    with acting.acting_as(ANN):
        token = shares.publish("run1", "<p>report", days=7).token
        history.delete_run("run1")
        assert shares.opened(token) is None
        trash.restore(trash.entries()[0].id)
    assert shares.opened(token) is None


KILLED = """
import os, signal, sys
sys.path.insert(0, ROOT)
from pathlib import Path
from gsc_core.workspace import history
def killed(self, target, rename=Path.rename):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)  # the folder has its new name, the index knows nothing
Path.rename = killed
history.delete_run("run1")
"""


@pytest.mark.slow
def test_a_kill_between_the_folder_and_the_index_loses_no_run(home):
    before, files = records(), contents(home)
    script = KILLED.replace("ROOT", repr(str(ROOT)))
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (home / "runs" / "run1").exists()
    tidy()
    assert (records(), contents(home)) == (before, files)
