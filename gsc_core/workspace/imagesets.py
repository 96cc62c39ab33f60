"""Sets of pictures that were added: their files, members, surrogate outliers."""

from collections.abc import Callable

from gsc_core.audit import Progress
from gsc_core.workspace.database import Job


def look(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `SET` job; see `tasks`."""
    raise NotImplementedError


def make_surrogates(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `SURROGATES` job; see `tasks`."""
    raise NotImplementedError
