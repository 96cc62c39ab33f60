"""Which waiting or running jobs use a model or a set: it is not to be taken from under them."""

import json
from pathlib import Path
from typing import Any

from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, StoredModel, StoredSet
from gsc_core.jobs.home import home
from gsc_core.run.layout import SPEC_FILE
from gsc_core.workspace.runs import RUN_ID, run_folder


def jobs_with_model(stored: StoredModel) -> list[Job]:
    """Jobs that wait or run and look at this model, audit it, or explain an audit of it."""
    file = stored.spec.get("checkpoint")
    return [job for job in _waiting() if job.subject == stored.id or (file and _names(job, file))]


def jobs_with_set(stored: StoredSet) -> list[Job]:
    """Jobs that wait or run and read this set, audit it, or look into an audit of it again."""
    return [
        job
        for job in _waiting()
        if job.subject == stored.id or _source_is(job, stored) or _names(job, stored.folder)
    ]


def runs_with(stored: StoredSet) -> list[str]:
    """Ids of the runs whose images lie in the set's folder, in order."""
    # To parse 500 specifications would take longer.
    wanted = _as_written(stored.folder).encode()
    specs = (home() / "runs").glob("*/spec.json")
    return sorted(spec.parent.name for spec in specs if wanted in _content(spec))


def _waiting() -> list[Job]:
    return queue.jobs(states=queue.WAITING)


def _source_is(job: Job, stored: StoredSet) -> bool:
    return job.kind is Kind.SURROGATES and orders.names(job, stored.id)


def _names(job: Job, path: str) -> bool:
    """Whether the audit that a job performs, or that its run once was, uses this file or folder."""
    return orders.names(job, path) or _as_written(path) in _as_written(_spec_of_run(job.subject))


def _spec_of_run(run_id: str) -> Any:
    if not RUN_ID.fullmatch(run_id):
        return None
    try:
        return json.loads(_content(run_folder(run_id) / SPEC_FILE))
    except ValueError:
        return None


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # its run is being deleted, or has not begun
        return b""


def _as_written(value: Any) -> str:
    """As a specification holds it: a path is one quoted text there, which no other path is in."""
    return json.dumps(value, ensure_ascii=False)
