"""All runs: those that wait or run, those that ended well or not, those of the command line."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from sqlmodel import select

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs import queue
from gsc_core.jobs.database import Deleted, Job, Kind, State, session
from gsc_core.run import decisions
from gsc_core.run.layout import LOG_FILE
from gsc_core.run.stored import Run, version_of
from gsc_core.sentences.run import answer
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs, shares, trash
from gsc_core.workspace.audits import LONGEST_TITLE

_LOG_BYTES = 64_000


class Outcome(StrEnum):
    """How a run stands, in a word for the reader."""

    QUEUED = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    ASKING = "needs an answer"
    CANCELLED = "cancelled"
    LOST = "lost"  # finished once; the folder is gone


@dataclass(frozen=True)
class RunEntry:
    """One line of the history; `job` is None for a run of the command line.

    `finished` tells that there is a result to open: an old one may be there while the demo runs
    again. `created` is in seconds since 1970.
    """

    id: str
    title: str
    outcome: Outcome
    finished: bool
    created: float
    job: Job | None

    @property
    def waiting(self) -> bool:
        """Whether it is not at its end yet."""
        return self.outcome in (Outcome.QUEUED, Outcome.RUNNING)

    @property
    def owner(self) -> str | None:
        """Who started it."""
        return None if self.job is None else self.job.owner

    @property
    def error(self) -> str | None:
        """The sentence for the reader of a run that did not end well."""
        if self.outcome is Outcome.LOST:
            return "The folder of this run is gone: delete the entry, or run the audit again."
        return self.job.error if self.job is not None else None

    @property
    def question(self) -> Question | None:
        """What it waits to be answered."""
        return Question.read(self.job.question) if self.job is not None else None


@dataclass(frozen=True)
class Summary:
    """What a finished run says in one sentence, and the seconds it took; or why it says nothing."""

    answer: str | None
    seconds: float | None = None
    error: str | None = None


def history() -> list[RunEntry]:
    """Every run, the newest first; no result is opened for it."""
    asked = {job.subject: job for job in reversed(queue.jobs(kinds=(Kind.AUDIT, Kind.DEMO)))}
    finished = set(runs.list_runs())
    entries = [
        _entry(run_id, asked.get(run_id), run_id in finished) for run_id in {*asked, *finished}
    ]
    return sorted(entries, key=lambda entry: (entry.created, entry.id), reverse=True)


def free_title(wanted: str) -> str:
    """A title that no run has yet: the wanted one, numbered where it is taken."""
    taken = {entry.title for entry in history()}
    endings = ("", *(f" ({n})" for n in range(2, len(taken) + 3)))
    titles = (wanted[: LONGEST_TITLE - len(ending)] + ending for ending in endings)
    return next(title for title in titles if title not in taken)


def summary(entry: RunEntry) -> Summary | None:
    """What a run that has a result says; read once for each version of it and of its decision."""
    if not entry.finished:
        return None
    folder = runs.run_folder(entry.id)
    return _summary(str(folder), version_of(folder), decisions.version_of(folder))


def log_tail(run_id: str, lines: int = 40) -> str:
    """The last lines of a run's log; empty when there is none."""
    path = runs.run_folder(run_id) / LOG_FILE
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_BYTES))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def delete_run(run_id: str) -> None:
    """Put a run into the trash with all that was asked about it; what was shared of it is revoked.

    Raises GscError while work on it waits or runs, when its folder cannot be moved, and for who may
    not.
    """
    folder, owner = runs.run_folder(run_id), runs.owner(run_id)
    acting.ensure(Action.DELETE, owner)
    with session() as db:  # held, so that nothing is asked of the run meanwhile
        if jobs := queue.jobs(states=queue.WAITING, subject=run_id, most=1):
            raise GscError(f'"{jobs[0].title}" is not finished: cancel it, then delete the run.')
        shares.withdraw_all(run_id)
        entry = Deleted(what=trash.RUN, subject=run_id, name=runs.title(run_id), owner=owner)
        moved = trash.renamed_run(entry.id, run_id) if folder.exists() else None
        of_run = db.exec(select(Job).where(Job.subject == run_id)).all()
        trash.put(db, entry, of_run, moved)
        try:
            if moved is not None:
                folder.rename(moved)
        except OSError as error:
            reason = error.strerror or error
            raise GscError(f"The run cannot be deleted ({reason}): check its folder.") from error


def _entry(run_id: str, job: Job | None, finished: bool) -> RunEntry:
    usual = runs.DEMO_TITLE if run_id == runs.DEMO_RUN else run_id
    title = job.title if job is not None else usual
    created = job.created if job is not None else runs.finished_at(run_id)
    return RunEntry(run_id, title, _outcome(job, finished), finished, created, job)


def _outcome(job: Job | None, finished: bool) -> Outcome:
    match job:
        case Job(state=State.QUEUED):
            return Outcome.QUEUED
        case Job(state=State.RUNNING):
            return Outcome.RUNNING
    if finished or job is None:
        return Outcome.FINISHED
    if job.state is State.DONE:
        return Outcome.LOST
    if job.state is State.CANCELLED:
        return Outcome.CANCELLED
    return Outcome.FAILED if Question.read(job.question) is None else Outcome.ASKING


@lru_cache(maxsize=2048)
def _summary(folder: str, version: int, decision: int) -> Summary:
    try:
        run = Run.load(Path(folder))
        return Summary(answer(run), run.provenance.seconds)
    except GscError as error:
        return Summary(None, error=str(error))
