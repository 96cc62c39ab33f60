"""`gsc demo`: the embedded road-sign audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gsc_core.cli.options import (
    AsJson,
)
from gsc_core.cli.output import (
    show_run,
    shown_progress,
)


def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder for the result; by default the workspace."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit the embedded road-sign classifier: no files needed."""
    from gsc_core.demo.audit import run_demo
    from gsc_core.workspace.demo import images_folder, register
    from gsc_core.workspace.runs import DEMO_RUN, run_folder

    with shown_progress() as on_progress:
        result = run_demo(images_folder(), out or run_folder(DEMO_RUN), on_progress)
        if out is None:
            register(on_progress)
    show_run(result, as_json)
