"""Exports of a run's detector as the app asks for them: made by a worker, kept with the run."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of an `EXPORT` job; see `tasks`."""
    raise NotImplementedError
