"""Explanations of single pictures as the app asks for them: kept in the run's folder."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `EXPLAIN` job; see `tasks`."""
    raise NotImplementedError


def try_one(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `TRY` job; see `tasks`."""
    raise NotImplementedError
