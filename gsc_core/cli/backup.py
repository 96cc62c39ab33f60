"""`gsc backup` and `gsc restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gsc_core.cli.output import shown_progress
from gsc_core.cli.terminal import write
from gsc_core.extras import require


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write, such as monday.zip.")],
) -> None:
    """Save the whole workspace as one ZIP; the app and its workers may keep running."""
    require("sqlmodel")
    from gsc_core.workspace.operation.backup import back_up

    with shown_progress() as on_progress:
        manifest = back_up(file, on_progress)
    size = sum(entry.bytes for entry in manifest.files)
    write(f"{len(manifest.files):,} files ({size / 1e6:,.1f} MB) in {file}\n")


def restore(
    file: Annotated[Path, typer.Argument(help="What `gsc backup` wrote.")],
) -> None:
    """Make a workspace of a backup; GSC_HOME must be empty or not exist."""
    require("sqlmodel")
    from gsc_core.jobs.home import home
    from gsc_core.workspace.operation.restore import restore_into

    with shown_progress() as on_progress:
        manifest = restore_into(file, home(), on_progress)
    write(f"{len(manifest.files):,} files of {manifest.made:%d %b %Y} in {home()}\n")
