"""How far a job is, in words; updated every second until it ends."""

import time
from collections.abc import Callable

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs import queue
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import Job, Kind, Lane, State
from gsc_core.jobs.lane_lock import is_held
from gsc_core.team import acting
from gsc_core.team.roles import Action
from pages.parts.shared.question import doubt
from pages.parts.shared.text import duration, plain

_PHASES = {
    "drawing road signs": "Drawing road signs",
    "opening the model": "Opening the model",
    "reading the images": "Reading the images",
    "calibrating": "Learning what familiar images look like",
    "fitting the detectors": "Fitting the detectors",
    "scoring surrogate outliers": "Trying it on surrogate images",
    "scoring id": "Scoring the familiar images",
    "measuring": "Measuring",
    "measuring what pages show": "Counting what its pages show",
    "measuring its speed": "Measuring its speed",
}
_SCORING, _MEASURING = "scoring ", "measuring "  # a set by its name, a layer by its name
_RESUMED = (
    Kind.AUDIT,
    Kind.DEMO,
    Kind.REPORT_IMAGES,
)  # keep finished work; all others start from scratch
_WORK = {Lane.AUDIT: "audit", Lane.PREPARE: "job", Lane.EXPLAIN: "job"}
_LONG = 60.0  # seconds after which a job that is next should have been taken


def job_progress(job_id: str, key: str, *, aside: bool = False) -> None:
    """Show a job: its place in the queue, its progress with a Cancel button, or how it ended.

    `key` starts the keys of its buttons, `<key>_cancel` and `<key>_retry`. When the job begins
    or ends the whole page runs again; nothing polls from its end on. `aside`: its begin changes
    nothing around it, so only its end does that: a page that runs again withdraws its downloads.
    """
    job = _read(job_id)
    if job is not None and job.state in queue.WAITING:
        st.fragment(_watched, run_every=1)(job_id, key, None if aside else job.state)
    elif job is not None:
        _ended(job, key)


def _read(job_id: str) -> Job | None:
    try:
        job = queue.get(job_id)
    except GscError as error:
        st.error(plain(str(error)))
        return None
    if job is None:
        st.caption("This job no longer exists.")
    return job


def _watched(job_id: str, key: str, shown: State | None) -> None:
    job = _read(job_id)
    if job is None:
        return
    changed = job.state not in queue.WAITING if shown is None else job.state is not shown
    if changed:  # the page around it says so too
        st.rerun(scope="app")
    if job.state is State.RUNNING:
        of = f": {job.done:,} of {job.total:,}" if job.total > 1 else ""
        st.progress(_share(job), text=plain(_phase(job.phase)) + of)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(_running(job) if job.state is State.RUNNING else _queued(job), width="content")
        if not job.cancel and acting.permits(Action.CANCEL, job.owner):
            st.button(
                "Cancel", key=f"{key}_cancel", on_click=_cancel, args=(job_id,), type="tertiary"
            )


def _queued(job: Job) -> str:
    try:
        before = queue.position(job)
    except GscError as error:
        return plain(str(error))
    if before:
        work = _WORK[job.lane]
        return f"Waiting for {before} {work}{'s' * (before > 1)} ahead of it."
    if time.time() - job.created < _LONG:
        return "Starts in a moment."
    if is_held(job.lane):  # a worker is there: it begins, or ends what it did before
        return "Its worker is getting ready; a busy machine takes a while."
    if configuration().workers == "here":
        return (
            "The app is starting a worker for it. If this stays so, "
            f"the operator finds the reason in `logs/worker-{job.lane}.txt`."
        )
    return "No worker has picked it up yet: the operator starts one with `gsc worker`."


def _running(job: Job) -> str:
    if job.cancel:
        return f"Stopping after the current batch. {_kept(job)}"
    facts = [f"Running for {duration(time.time() - job.started)}"] if job.started else []
    if job.rate and job.total > 1 and job.kind is not Kind.EXPORT:  # a few steps, all unlike
        if not job.phase.startswith(_MEASURING):  # counts settings, not images
            facts.append(f"{_figure(job.rate)} images a second")
        of = "" if job.images_total else " in this step"
        facts.append(f"about {duration(_left(job) / job.rate)} left{of}")
    if job.attempts > 1:
        began = "resumed from finished work" if job.kind in _RESUMED else "started from scratch"
        facts.append(f"attempt {job.attempts}: it {began}")
    return " · ".join(facts)


def _kept(job: Job) -> str:
    """What remains of a cancelled job."""
    if job.kind in _RESUMED:
        return "Finished work is kept: it can resume from there."
    return "Unfinished work is not kept: it would start from scratch."


def _phase(phase: str) -> str:
    if not phase:
        return "Starting"
    if phase in _PHASES:
        return _PHASES[phase]
    what, _, layer = phase.rpartition(" at ")  # of an ablation, which does it at each layer
    if what in _PHASES:
        return f"{_PHASES[what]}, at layer {layer}"
    if phase.startswith(_SCORING):
        return f"Scoring the unfamiliar images of {phase.removeprefix(_SCORING)}"
    if phase.startswith(_MEASURING):
        return f"Measuring each setting at layer {phase.removeprefix(_MEASURING)}"
    return phase[0].upper() + phase[1:]


def _share(job: Job) -> float:
    """Of the whole job where its images are known, else of the phase at hand."""
    if job.images_total:
        return min(1.0, job.images_done / job.images_total)
    return min(1.0, job.done / job.total) if job.total > 1 else 0.0


def _left(job: Job) -> int:
    """Images still to do, of the whole job or of the phase at hand."""
    if job.images_total:
        return max(0, job.images_total - job.images_done)
    return max(0, job.total - job.done)


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _ended(job: Job, key: str) -> None:
    if job.state is State.DONE:
        return
    if job.state is State.CANCELLED:
        st.info(plain(job.error) if job.error else f"Cancelled. {_kept(job)}")
    elif (question := Question.read(job.question)) is not None:
        st.warning(plain(doubt(question)), icon=":material/help:")
    else:
        st.error(plain(job.error or "It failed."))
    if acting.permits(Action.CHANGE, job.owner):
        st.button("Try again", key=f"{key}_retry", on_click=_retry, args=(job.id,))


def _cancel(job_id: str) -> None:
    _ask(queue.cancel, job_id)


def _retry(job_id: str) -> None:
    _ask(queue.retry, job_id)


def _ask(change: Callable[[str], None], job_id: str) -> None:
    try:
        change(job_id)
    except GscError as error:
        st.toast(plain(str(error)))
