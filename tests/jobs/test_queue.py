"""The index and its queue, with real processes at the same file."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from browser import PATIENCE
from places import ROOT
from sqlmodel import select

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs import queue
from gsc_core.jobs.database import VERSION, Deleted, Job, Kind, Lane, State, StoredModel, session
from gsc_core.jobs.home import home
from gsc_core.jobs.queue import Status
from gsc_core.team import acting
from gsc_core.team.roles import Person, Role


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))


def submit(title="audit", kind=Kind.AUDIT) -> Job:
    return queue.submit(kind, title, title, {})


def at_once(script: str, processes: int) -> list[str]:
    """Run the same script in several processes that start their work together; what they print."""
    barrier = home().parent / "go"
    waiting = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        "from gsc_core.jobs import queue\n"
        "from gsc_core.jobs.database import *\n"
        "print('ready', flush=True)\n"
        f"while not Path({str(barrier)!r}).exists(): time.sleep(0.001)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", waiting + script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    barrier.touch()
    ends = [process.communicate(timeout=PATIENCE) for process in started]
    assert [p.returncode for p in started] == [0] * processes, [error for _, error in ends]
    return [out for out, _ in ends]


# --- order ------------------------------------------------------------------------------------


def test_jobs_of_a_lane_are_taken_in_the_order_they_came() -> None:
    first, second, third = (submit(name) for name in ("a", "b", "c"))
    other = submit("m", Kind.MODEL)
    assert [queue.position(job) for job in (first, second, third, other)] == [0, 1, 2, 0]

    taken = queue.claim(Lane.AUDIT, 77)
    assert taken is not None
    assert (taken.id, taken.state, taken.pid, taken.attempts) == (first.id, State.RUNNING, 77, 1)
    assert queue.position(third) == 2, "the running one comes before it too"
    queue.end(first.id, State.DONE)
    assert queue.position(third) == 1
    assert [queue.claim(Lane.AUDIT, 77).id for _ in range(2)] == [second.id, third.id]
    assert queue.claim(Lane.AUDIT, 77) is None
    assert queue.claim(Lane.PREPARE, 78).id == other.id


def test_jobs_of_one_instant_have_an_order_too() -> None:
    with session() as db:
        for name in "cab":
            db.add(Job(id=name, kind=Kind.SET, title="", subject="", lane=Lane.PREPARE, created=5))
    assert [queue.position(queue.get(name)) for name in "abc"] == [0, 1, 2]
    assert [queue.claim(Lane.PREPARE, 1).id for _ in range(3)] == list("abc")


def test_the_running_one_comes_first_even_if_it_came_later() -> None:
    early, late = submit("a"), submit("b")
    with session() as db:
        job = db.get(Job, late.id)
        job.state = State.RUNNING
        db.add(job)
    assert queue.position(early) == 1


# --- states -----------------------------------------------------------------------------------


def test_cancel_ends_a_waiting_job_and_asks_a_running_one() -> None:
    running, waiting = submit("a"), submit("b")
    queue.claim(Lane.AUDIT, 1)
    before = time.time()
    queue.cancel(waiting.id)
    queue.cancel(running.id)
    assert queue.get(waiting.id).state is State.CANCELLED
    asked = queue.get(running.id)
    assert (asked.state, asked.cancel) == (State.RUNNING, True)
    assert before <= asked.cancel_asked <= time.time()
    queue.cancel(running.id)
    assert queue.get(running.id).cancel_asked == asked.cancel_asked, "the first time counts"
    assert queue.report(running.id, Status("scoring id", 1, 2, 1, None)), "it is told to stop"


def test_retry_forgets_how_it_ended_and_goes_to_the_end_of_the_lane() -> None:
    first, second = submit("a"), submit("b")
    queue.claim(Lane.AUDIT, 1)
    queue.report(first.id, Status("scoring id", 5, 9, 5, 2.0))
    queue.retry(first.id)
    assert queue.get(first.id).state is State.RUNNING, "only what has ended"
    queue.cancel(first.id)
    queue.end(first.id, State.FAILED, "It is too large.")
    queue.retry(first.id)
    again = queue.get(first.id)
    assert again.state is State.QUEUED
    assert (again.error, again.cancel, again.cancel_asked, again.attempts) == (None, False, None, 0)
    assert (again.phase, again.done, again.images_done, again.rate) == ("", 0, 0, None)
    assert queue.position(again) == 1
    assert queue.claim(Lane.AUDIT, 1).id == second.id


def test_a_lost_worker_costs_an_attempt_and_the_third_is_the_last() -> None:
    job = submit()
    for attempt in (1, 2, 3):
        assert queue.claim(Lane.AUDIT, attempt).attempts == attempt
        queue.take_back(Lane.AUDIT)
    ended = queue.get(job.id)
    assert ended.state is State.FAILED
    assert "three times" in ended.error
    assert queue.claim(Lane.AUDIT, 4) is None


def test_a_worker_told_to_end_costs_none() -> None:
    job = submit()
    for _ in range(5):
        queue.claim(Lane.AUDIT, 1)
        queue.put_back(job.id)
    assert (queue.get(job.id).state, queue.get(job.id).attempts) == (State.QUEUED, 0)
    queue.claim(Lane.AUDIT, 1)
    queue.cancel(job.id)
    queue.put_back(job.id)
    assert queue.get(job.id).state is State.CANCELLED


def test_what_ended_stays_so() -> None:
    job = submit()
    queue.claim(Lane.AUDIT, 1)
    queue.end(job.id, State.CANCELLED)
    queue.end(job.id, State.DONE)
    queue.put_back(job.id)
    queue.take_back(Lane.AUDIT)
    assert queue.report(job.id, Status("", 0, 1, 0, None)), "whoever still works on it must stop"
    assert queue.get(job.id).state is State.CANCELLED
    for change in (queue.cancel, queue.retry, queue.put_back):
        change("no such job")
    queue.end("no such job", State.DONE)


# --- many at the same file --------------------------------------------------------------------


@pytest.mark.slow
def test_processes_that_open_a_new_workspace_together_all_can() -> None:
    at_once("for i in range(10): queue.submit(Kind.SET, str(i), 's', {})", processes=6)
    assert len(queue.jobs()) == 60


@pytest.mark.slow
def test_no_job_is_taken_twice() -> None:
    submitted = {submit(str(i)).id for i in range(60)}
    script = "while (job := queue.claim(Lane.AUDIT, 1)) is not None: print(job.id)\n"
    taken = [line for out in at_once(script, processes=4) for line in out.split()]
    assert len(taken) == 60
    assert set(taken) == submitted


def test_a_session_within_a_session_is_the_same_one() -> None:
    with pytest.raises(RuntimeError), session() as outer:
        job = submit()
        assert outer.get(Job, job.id) is not None
        raise RuntimeError
    assert queue.get(job.id) is None, "all or nothing"


@pytest.mark.slow
def test_threads_wait_for_each_other() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                queue.jobs()
                submit()
        except BaseException as error:  # told below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(queue.jobs()) == 80


# --- files we cannot use ----------------------------------------------------------------------


def test_a_file_of_a_newer_program_is_left_alone() -> None:
    submit()
    with sqlite3.connect(home() / "workspace.db") as db:
        db.execute("PRAGMA user_version = 99")
    copy = home().parent / "later"
    shutil.copytree(home(), copy)
    os.environ["GSC_HOME"] = str(copy)
    with pytest.raises(GscError, match="newer version"):
        queue.jobs()


def test_a_file_of_the_earlier_version_gets_the_columns_it_lacks() -> None:
    job = submit("before")
    with sqlite3.connect(home() / "workspace.db") as db:
        for table, column in (
            ("job", "question"),
            ("storedset", "question"),
            ("storedset", "labels_from"),
            ("storedmodel", "question"),
        ):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    earlier = home().parent / "earlier"
    shutil.copytree(home(), earlier)
    os.environ["GSC_HOME"] = str(earlier)
    (found,) = queue.jobs()
    assert (found.id, found.title, found.question) == (job.id, "before", None)
    claimed = queue.claim(Lane.AUDIT, 1)
    assert claimed is not None
    question = Question(doubt="x", otherwise="y")
    queue.end(claimed.id, State.FAILED, "x: y.", question)
    (found,) = queue.jobs()
    assert Question.read(found.question) == question
    with sqlite3.connect(earlier / "workspace.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 99])
def test_a_damaged_file_is_one_sentence(content: bytes) -> None:
    home().mkdir()
    (home() / "workspace.db").write_bytes(content)
    with pytest.raises(GscError, match="damaged: move it away"):
        queue.jobs()
    (home() / "workspace.db").unlink()
    assert queue.jobs() == [], "after that it works at once"


def test_a_folder_that_cannot_be_made_is_one_sentence(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(GscError, match=re.escape("set GSC_HOME to a folder that can")):
        queue.jobs()


def test_a_file_that_cannot_be_opened_is_one_sentence() -> None:
    (home() / "workspace.db").mkdir(parents=True)
    with pytest.raises(GscError, match="cannot be opened"):
        queue.jobs()


def test_a_deleted_workspace_is_a_new_one() -> None:
    submit()
    shutil.rmtree(home())
    assert queue.jobs() == []
    with session() as db:
        db.add(StoredModel(name="m", spec={}))


def test_any_folder_name_will_do(tmp_path, monkeypatch) -> None:
    odd = tmp_path / "50% of #1? ünder & 'all'"
    monkeypatch.setenv("GSC_HOME", str(odd))
    submit()
    assert len(queue.jobs()) == 1
    assert (odd / "workspace.db").is_file()


def test_our_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(Exception, match="UNIQUE constraint"), session() as db:
        for _ in range(2):
            db.add(StoredModel(id="same", name="m", spec={}))
            db.flush()
            db.expunge_all()


def test_the_index_of_version_2_opens_unchanged_and_belongs_to_nobody() -> None:
    """As commit 4fddbf1 left it, with a job in each state."""
    home().mkdir()
    file = shutil.copyfile(ROOT / "tests" / "earlier" / "index-2.db", home() / "workspace.db")

    def everything() -> dict[str, list[dict[str, object]]]:
        with sqlite3.connect(file) as db:
            db.row_factory = sqlite3.Row
            tables = ("storedmodel", "storedset", "job")
            rows = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
        return {name: [dict(row) for row in of] for name, of in rows.items()}

    before = everything()
    assert {job.title: job.state for job in queue.jobs()} == {
        f"an audit, {state}": state for state in State
    }
    for name, rows in everything().items():
        assert [row | {"owner": None} for row in before[name]] == rows
    with acting.acting_as(Person("ann@example.org", Role.AUDITOR)):
        with pytest.raises(acting.NotAllowedError):
            queue.cancel(queue.jobs(states=(State.QUEUED,))[0].id)
        own = submit("mine")
    queue.take_back(Lane.AUDIT)
    taken = [queue.claim(Lane.AUDIT, 1) for _ in range(3)]
    assert [job.title for job in taken if job] == ["an audit, running", "mine", "an audit, queued"]
    assert queue.get(own.id).owner == "ann@example.org"
    with session() as db:
        assert not db.exec(select(Deleted)).all()
