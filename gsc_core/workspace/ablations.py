"""Ablations as the app asks for them: kept in the run's folder."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `ABLATION` job; see `tasks`."""
    raise NotImplementedError
