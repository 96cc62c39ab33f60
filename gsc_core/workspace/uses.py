"""Which waiting or running jobs use a stored model: it is not to be taken from under them."""

import json
from typing import Any

from gsc_core.workspace import queue
from gsc_core.workspace.database import Job, StoredModel
from gsc_core.workspace.runs import RUN_ID, run_folder


def jobs_with_model(stored: StoredModel) -> list[Job]:
    """Jobs that wait or run and look at this model, audit it, or explain an audit of it."""
    file = stored.spec.get("checkpoint")
    waiting = queue.jobs(states=queue.WAITING)
    return [job for job in waiting if job.subject == stored.id or (file and _file(job) == file)]


def _file(job: Job) -> str | None:
    """The model file of the audit that a job performs or that its run once performed."""
    spec = job.payload.get("spec") or _spec_of_run(job.subject)
    said: str | None = (spec.get("model") or {}).get("checkpoint")
    return said


def _spec_of_run(run_id: str) -> dict[str, Any]:
    try:
        if not RUN_ID.fullmatch(run_id):
            return {}
        found: dict[str, Any] = json.loads((run_folder(run_id) / "spec.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found
