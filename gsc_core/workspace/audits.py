"""Audits as the app asks for them: from records to a specification, a job, a run folder."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `AUDIT` job; see `tasks`."""
    raise NotImplementedError


def perform_demo(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `DEMO` job; see `tasks`."""
    raise NotImplementedError
