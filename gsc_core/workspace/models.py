"""Classifiers that were added: their files, what was found in them."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def look(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `MODEL` job; see `tasks`."""
    raise NotImplementedError
