"""The queue of jobs: who asks for work, who takes it, how far it is. Any process may call these."""

import time
from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select

from gsc_core.workspace.database import Job, Kind, Lane, State, session

ENDED = (State.DONE, State.FAILED, State.CANCELLED)
WAITING = (State.QUEUED, State.RUNNING)


def submit(
    kind: Kind, title: str, subject: str, payload: dict[str, Any], images_total: int = 0
) -> Job:
    """Put a job at the end of its lane."""
    job = Job(
        kind=kind,
        title=title,
        subject=subject,
        payload=payload,
        lane=kind.lane,
        images_total=images_total,
    )
    with session() as db:
        db.add(job)
    return job


def get(job_id: str) -> Job | None:
    """The job of that id as it is now."""
    with session() as db:
        return db.get(Job, job_id)


def jobs(
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    states: Sequence[State] = tuple(State),
    subject: str | None = None,
) -> list[Job]:
    """Jobs of some kinds and states, the newest first."""
    query = select(Job).where(col(Job.kind).in_(kinds), col(Job.state).in_(states))
    if subject is not None:
        query = query.where(Job.subject == subject)
    with session() as db:
        return list(db.exec(query.order_by(col(Job.created).desc())))


def latest(subject: str, *kinds: Kind) -> Job | None:
    """The newest job that works for a run, model or set."""
    return next(iter(jobs(kinds=kinds or tuple(Kind), subject=subject)), None)


def position(job: Job) -> int:
    """How many jobs of the lane come before a queued one, the running one included."""
    with session() as db:
        query = select(Job).where(
            Job.lane == job.lane, col(Job.state).in_(WAITING), Job.created < job.created
        )
        return len(db.exec(query).all())


def cancel(job_id: str) -> None:
    """Ask for the end of a job: at once when it still waits, else after the batch at hand."""
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state in ENDED:
            return
        job.cancel = True
        if job.state is State.QUEUED:
            job.state, job.finished = State.CANCELLED, time.time()
        db.add(job)


def retry(job_id: str) -> None:
    """Queue an ended job again; it goes on from its finished chunks."""
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state not in ENDED:
            return
        job.state, job.cancel, job.error, job.attempts = State.QUEUED, False, None, 0
        job.phase, job.started, job.finished, job.created = "", None, None, time.time()
        db.add(job)


def waiting(lane: Lane) -> bool:
    """Whether a lane has work that is not ended."""
    with session() as db:
        query = select(Job.id).where(Job.lane == lane, col(Job.state).in_(WAITING))
        return db.exec(query).first() is not None
