"""What a page shows of a job: waiting, at work, ended, and the buttons."""

import time

import pytest
from browser import PATIENCE
from opened_page import ROOT, words
from streamlit.testing.v1 import AppTest

from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, State, session
from gsc_core.jobs.home import home
from gsc_core.jobs.lane_lock import taken
from gsc_core.jobs.queue import Status

pytestmark = pytest.mark.slow

HOSTILE = "[a](http://b) :red[c] $x$ <b>"


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))


def shown(job_id: str) -> AppTest:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import streamlit as st\n"
        "from pages.parts.shared.job import job_progress\n"
        f"job_progress({job_id!r}, 'it')\n"
        "st.caption('the page around it')"
    )
    app = AppTest.from_string(script, default_timeout=PATIENCE).run()
    assert not app.exception
    assert "the page around it" in words(app)
    return app


def submit(total: int = 0) -> Job:
    return queue.submit(Kind.AUDIT, "An audit", "run", {}, total)


def bar(app: AppTest) -> tuple[float, str]:
    progress = app.get("progress")[0].proto
    return progress.value, progress.text.replace("\\", "")


def test_waiting_tells_how_many_come_first() -> None:
    jobs = [submit() for _ in range(3)]
    assert "Starts in a moment" in words(shown(jobs[0].id))
    assert "Waiting for 1 audit ahead of it." in words(shown(jobs[1].id))
    assert "Waiting for 2 audits ahead of it." in words(shown(jobs[2].id))


def test_a_job_that_nobody_takes_says_so() -> None:
    job = submit()
    with session() as db:
        stored = db.get(Job, job.id)
        stored.created = time.time() - 120
        db.add(stored)
    app = shown(job.id)
    assert "No worker has picked it up yet" in words(app)
    app.button(key="it_cancel").click().run()
    assert queue.get(job.id).state is State.CANCELLED
    assert "Cancelled" in words(app)


def test_a_worker_that_gets_ready_is_no_reason_to_start_another(monkeypatch) -> None:
    job = submit()
    with session() as db:
        stored = db.get(Job, job.id)
        stored.created = time.time() - 120
        db.add(stored)
    with taken(Lane.AUDIT) as lock:
        assert lock is not None
        assert "getting ready" in words(shown(job.id))
    monkeypatch.setenv("GSC_WORKERS", "here")
    app = shown(job.id)
    assert "The app is starting a worker" in words(app)
    assert "gsc worker" not in words(app)


def test_at_work_tells_phase_pace_and_time_left() -> None:
    job = submit(total=1000)
    queue.claim(Lane.AUDIT, 1)
    app = shown(job.id)
    assert bar(app) == (0, "Starting")
    queue.report(job.id, Status("scoring id", 100, 400, 250, 12.5))
    app = shown(job.id)
    assert bar(app) == (25, "Scoring the familiar images: 100 of 400")
    assert "12 images a second · about 1 min left" in words(app)
    queue.report(job.id, Status(f"scoring {HOSTILE}", 3, 400, 10_000, 0.5))
    value, text = bar(shown(job.id))
    assert value == 100, "more than was reckoned with"
    assert HOSTILE in text.replace("\N{WORD JOINER}", "")
    assert "[a](" not in shown(job.id).get("progress")[0].proto.text


def test_without_a_total_the_bar_is_of_the_phase() -> None:
    job = submit()
    queue.claim(Lane.AUDIT, 1)
    queue.report(job.id, Status("drawing road signs", 30, 120, 30, 3.0))
    app = shown(job.id)
    assert bar(app) == (25, "Drawing road signs: 30 of 120")
    assert "3.0 images a second · about 30 s left" in words(app)
    queue.report(job.id, Status("measuring", 0, 1, 120, 3.0))
    app = shown(job.id)
    assert bar(app) == (0, "Measuring")
    assert "images a second" not in words(app)


def test_cancel_is_asked_for_once() -> None:
    job = submit()
    queue.claim(Lane.AUDIT, 1)
    app = shown(job.id)
    app.button(key="it_cancel").click().run()
    assert queue.get(job.id).cancel
    assert "Stopping after the current batch" in words(app)
    assert not [button for button in app.button if button.key == "it_cancel"]


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_what_ended_badly_can_be_tried_again(state: State) -> None:
    job = submit()
    queue.claim(Lane.AUDIT, 1)
    queue.end(job.id, state, f"{HOSTILE} is no image." if state is State.FAILED else None)
    app = shown(job.id)
    assert (HOSTILE if state is State.FAILED else "Cancelled") in words(app)
    app.button(key="it_retry").click().run()
    assert queue.get(job.id).state is State.QUEUED
    assert "Starts in a moment" in words(app)


def test_what_ended_well_leaves_the_page_to_its_outcome() -> None:
    job = submit()
    queue.claim(Lane.AUDIT, 1)
    queue.end(job.id, State.DONE)
    app = shown(job.id)
    assert not app.button
    assert words(app) == "the page around it"


def test_a_lost_job_and_a_damaged_index_are_sentences() -> None:
    assert "no longer exists" in words(shown("gone"))
    (home() / "workspace.db").write_bytes(b"nothing of use" * 100)
    assert "damaged" in words(shown("gone"))


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_cancelled_job_keeps_is_said_as_it_is(kind: Kind) -> None:
    job = queue.submit(kind, "A job", "run", {})
    queue.claim(kind.lane, 1)
    queue.cancel(job.id)
    running = words(shown(job.id))
    queue.end(job.id, State.CANCELLED)
    for said in (running, words(shown(job.id))):
        resumed = kind in (Kind.AUDIT, Kind.DEMO, Kind.REPORT_IMAGES)
        assert ("can resume from there" in said) == resumed
        assert ("start from scratch" in said) != resumed


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("scoring Night-Fog", "Scoring the unfamiliar images of Night-Fog: 1 of 9"),
        ("scoring A at B", "Scoring the unfamiliar images of A at B: 1 of 9"),
        (
            "calibrating at layer4.1",
            "Learning what familiar images look like, at layer layer4.1: 1 of 9",
        ),
        ("measuring layer4", "Measuring each setting at layer layer4: 1 of 9"),
        ("measuring its speed", "Measuring its speed: 1 of 9"),
        ("measuring what pages show", "Counting what its pages show: 1 of 9"),
    ],
)
def test_phases_are_plain_words_and_names_stay_as_they_are(phase: str, said: str) -> None:
    job = queue.submit(Kind.ABLATION, "An ablation", "run", {})
    queue.claim(Lane.AUDIT, 1)
    queue.report(job.id, Status(phase, 1, 9, 1, 4.0))
    app = shown(job.id)
    assert bar(app)[1].replace("\N{WORD JOINER}", "") == said
    assert "about 2 s left in this step" in words(app)
    assert ("images a second" in words(app)) == (not phase.startswith("measuring"))
