"""The pictures that tell most about a decision, and their explanations, for the report."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `TELLING` job; see `tasks`."""
    raise NotImplementedError
