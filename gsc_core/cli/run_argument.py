"""What the commands work on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsc_core.run.stored import Run


def opened(run: str) -> Run:
    """A run of the workspace by its id, or the folder of an audit. Raises GscError for neither."""
    from gsc_core.run.stored import Run

    return Run.load(folder_of(run))


def folder_of(run: str) -> Path:
    """Where it lies. Raises GscError where there is no such run."""
    if Path(run).is_dir():
        return Path(run).resolve()
    from gsc_core.workspace import runs  # comes with an extra

    return runs.run_folder(run)
