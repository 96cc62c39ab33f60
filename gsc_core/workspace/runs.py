"""The runs of the workspace: where each lies, which have a result, what a person called them."""

import re
from pathlib import Path

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.jobs.home import home
from gsc_core.run.layout import METRICS_FILE
from gsc_core.run.stored import Run

DEMO_RUN = "demo"
DEMO_TITLE = "Demo: road signs"

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def run_folder(run_id: str) -> Path:
    """The folder of a run; raises GscError for an id that could lead out of the workspace."""
    if not RUN_ID.fullmatch(run_id):
        raise GscError(
            "A run is named with letters, digits, - and _ only: choose one from the list."
        )
    return home() / "runs" / run_id


def list_runs() -> tuple[str, ...]:
    """Ids of the runs that hold a result, the newest first."""
    stamped = [
        (file.stat().st_mtime_ns, file.parent.name)
        for file in (home() / "runs").glob(f"*/{METRICS_FILE}")
        if RUN_ID.fullmatch(file.parent.name)
    ]
    return tuple(run_id for _, run_id in sorted(stamped, reverse=True))


def finished_at(run_id: str) -> float:
    """When a run's result was written, in seconds since 1970; 0 when there is none."""
    file = run_folder(run_id) / METRICS_FILE
    return file.stat().st_mtime if file.is_file() else 0.0


def is_in_workspace(run: Run) -> bool:
    """Whether a run lies in the workspace: an audit may lie in a folder of its own."""
    return bool(RUN_ID.fullmatch(run.id)) and run.path.resolve() == run_folder(run.id).resolve()


def owner(run_id: str) -> str | None:
    """Who started the run; None for nobody."""
    job = queue.latest(run_id, Kind.AUDIT, Kind.DEMO)
    return None if job is None else job.owner


def title(run_id: str) -> str:
    """What a person called the run, or its id."""
    job = queue.latest(run_id, Kind.AUDIT, Kind.DEMO)
    if job is not None:
        return job.title
    return DEMO_TITLE if run_id == DEMO_RUN else run_id  # by the command line, without a job
