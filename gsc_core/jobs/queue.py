"""The queue of jobs: who asks for work, who takes it, how far it is. Any process may call these."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from gsc_core.errors.questions import Question
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import ENDED, Job, Kind, Lane, State, Turn, session
from gsc_core.jobs.turns import in_turn
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.team.settings import QuotaError

WAITING = (State.QUEUED, State.RUNNING)
MAX_ATTEMPTS = 3
_LOGGED = (Kind.AUDIT, Kind.DEMO, Kind.ABLATION, Kind.EXPORT)  # others come with what was added

_THRICE = (
    "It stopped three times before its work was done, perhaps for lack of memory: "
    "try fewer images or another device."
)


@dataclass(frozen=True)
class Status:
    """How far a running job is: images of the phase at hand and of the whole job, and a second."""

    phase: str
    done: int
    total: int
    images_done: int
    rate: float | None


# --- asking for work -------------------------------------------------------------------------


def submit(
    kind: Kind, title: str, subject: str, payload: dict[str, Any], images_total: int = 0
) -> Job:
    """Put a job at the end of its lane, for who acts.

    Raises NotAllowedError for who may not start work, QuotaError for who has too much waiting.
    """
    person = acting.ensure(Action.START)
    job = Job(
        kind=kind,
        title=title,
        subject=subject,
        payload=payload,
        lane=kind.lane,
        images_total=images_total,
        owner=person.name,
    )
    with session() as db:
        _ensure_place(db, person.name)
        db.add(job)
        if kind in _LOGGED:
            acting.record(Event.STARTED, kind, subject, title)
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
    most: int | None = None,
) -> list[Job]:
    """Jobs of some kinds and states, the newest first."""
    query = select(Job).where(col(Job.kind).in_(kinds), col(Job.state).in_(states))
    if subject is not None:
        query = query.where(Job.subject == subject)
    with session() as db:
        newest = query.order_by(col(Job.created).desc(), col(Job.id).desc())
        return list(db.exec(newest.limit(most)))


def latest(subject: str, *kinds: Kind) -> Job | None:
    """The newest job that works for a run, model or set."""
    return next(iter(jobs(kinds=kinds or tuple(Kind), subject=subject, most=1)), None)


def position(job: Job) -> int:
    """How many jobs of the lane come before a queued one, the running one included.

    Those that others ask for later may come before it too: owners take turns.
    """
    with session() as db:
        running = select(Job.id).where(Job.lane == job.lane, Job.state == State.RUNNING)
        before = db.exec(running.where(Job.id != job.id)).first() is not None
        order = [queued.id for queued in _in_turn(db, job.lane)]
    return before + (order.index(job.id) if job.id in order else 0)


def cancel(job_id: str) -> None:
    """Ask for the end of a job: at once when it still waits, else after the batch at hand.

    Raises NotAllowedError for who may not cancel it.
    """
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state in ENDED:
            return
        acting.ensure(Action.CANCEL, job.owner)
        acting.record(Event.CANCELLED, job.kind, job.subject, job.title)
        job.cancel, job.cancel_asked = True, job.cancel_asked or time.time()
        if job.state is State.QUEUED:
            job.state, job.finished = State.CANCELLED, time.time()
        db.add(job)


def retry(job_id: str, payload: dict[str, Any] | None = None) -> None:
    """Queue an ended job again, with another order where one is given.

    It continues from its finished chunks. Raises NotAllowedError for who may not.
    """
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state not in ENDED:
            return
        acting.ensure(Action.CHANGE, job.owner)
        _ensure_place(db, job.owner)
        if job.kind in _LOGGED:
            acting.record(Event.STARTED, job.kind, job.subject, job.title, "again")
        _queue_again(job)
        job.cancel, job.cancel_asked, job.attempts = False, None, 0
        job.error, job.question = None, None
        if payload is not None:
            job.sqlmodel_update({"payload": payload})
        job.started, job.finished, job.created = None, None, time.time()
        db.add(job)


def waiting(lane: Lane) -> bool:
    """Whether a lane has work that is not ended."""
    with session() as db:
        query = select(Job.id).where(Job.lane == lane, col(Job.state).in_(WAITING))
        return db.exec(query).first() is not None


# --- doing it: for the worker that holds the lane, and its keeper ----------------------------


def claim(lane: Lane, pid: int) -> Job | None:
    """Take the queued job of a lane whose turn it is, if any; no two processes get the same."""
    with session() as db:
        job = next(iter(_in_turn(db, lane)), None)
        if job is not None:
            job.state, job.pid, job.started = State.RUNNING, pid, time.time()
            db.merge(Turn(lane=lane, owner=job.owner or "", served=_next_turn(db, lane)))
            job.attempts += 1
            db.add(job)
        return job


def running(lane: Lane) -> Job | None:
    """The job that is at work in a lane."""
    with session() as db:
        return db.exec(select(Job).where(Job.lane == lane, Job.state == State.RUNNING)).first()


def report(job_id: str, status: Status) -> bool:
    """Keep how far a running job is; True when it should stop."""
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state is not State.RUNNING:
            return True  # deleted, or ended by another
        job.phase, job.done, job.total = status.phase, status.done, status.total
        job.images_done, job.rate = status.images_done, status.rate
        db.add(job)
        return job.cancel


def end(
    job_id: str, state: State, error: str | None = None, question: Question | None = None
) -> None:
    """Record the end of a running job; nothing when another did that already."""
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state is not State.RUNNING:
            return
        job.state, job.error, job.finished, job.pid = state, error, time.time(), None
        job.question = None if question is None else question.model_dump(mode="json")
        if state is State.DONE and job.images_total:
            job.images_done = job.images_total
        db.add(job)


def put_back(job_id: str) -> None:
    """Queue a running job again because its worker was told to end: that counts as no attempt."""
    with session() as db:
        job = db.get(Job, job_id)
        if job is None or job.state is not State.RUNNING:
            return
        if job.cancel:
            job.state, job.finished, job.pid = State.CANCELLED, time.time(), None
        else:
            _queue_again(job)
            job.attempts -= 1
        db.add(job)


def take_back(lane: Lane) -> None:
    """Queue the lane's running jobs again: their worker is gone, as its lock is ours."""
    with session() as db:
        for job in db.exec(select(Job).where(Job.lane == lane, Job.state == State.RUNNING)):
            if job.cancel:
                job.state, job.finished, job.pid = State.CANCELLED, time.time(), None
            elif job.attempts >= MAX_ATTEMPTS:
                job.state, job.finished, job.pid = State.FAILED, time.time(), None
                job.error = _THRICE
            else:
                _queue_again(job)
            db.add(job)


def _queue_again(job: Job) -> None:
    job.state, job.pid, job.phase = State.QUEUED, None, ""
    job.done, job.total, job.images_done, job.rate = 0, 0, 0, None


def _ensure_place(db: Session, owner: str | None) -> None:
    """Raises QuotaError unless an owner, and all, may have one more job that waits or runs."""
    settings = configuration()
    waiting = select(func.count()).where(col(Job.state).in_(WAITING))
    if owner is not None and settings.user_jobs is not None:
        own = db.exec(waiting.where(Job.owner == owner)).one()
        if own >= settings.user_jobs:
            raise QuotaError(
                f"{own} of your jobs are waiting or running, and you may have "
                f"{settings.user_jobs}: wait until one has ended, or cancel one."
            )
    if settings.total_jobs is not None:
        total = db.exec(waiting).one()
        if total >= settings.total_jobs:
            raise QuotaError(
                f"{total} jobs are waiting or running here, the most allowed being "
                f"{settings.total_jobs}: try again when some have ended."
            )


def _in_turn(db: Session, lane: Lane) -> list[Job]:
    """The queued jobs of a lane, in the order in which they are taken."""
    queued = select(Job).where(Job.lane == lane, Job.state == State.QUEUED)
    served = select(Turn).where(Turn.lane == lane)
    by_age = queued.order_by(col(Job.created).asc(), col(Job.id).asc())
    return in_turn(db.exec(by_age).all(), {turn.owner: turn.served for turn in db.exec(served)})


def _next_turn(db: Session, lane: Lane) -> float:
    """A number above those of all turns before: a clock may be set back."""
    last = db.exec(select(func.max(Turn.served)).where(Turn.lane == lane)).one()
    return 1.0 + (last or 0.0)
