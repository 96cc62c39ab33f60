"""`gsc doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gsc_core.cli.options import AsJson
from gsc_core.cli.output import console
from gsc_core.cli.terminal import Text, write
from gsc_core.extras import require

_BAD = 2
_STYLES = {"good": "green", "warn": "yellow", "bad": "bold red"}


def doctor(
    app: Annotated[
        Path, typer.Option(help="The folder the web app is started in.", file_okay=False)
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Check the installation, the workspace and the app's settings: exit 2 if anything is bad."""
    require("sqlmodel")
    from gsc_core.workspace.operation.check import Level, worst
    from gsc_core.workspace.operation.doctor import examine

    checks = examine(app)
    if as_json:
        write(json.dumps([asdict(check) for check in checks], indent=2) + "\n")
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = Text(f"{check.level:4} ", style=_STYLES[check.level])
            console().print(mark, Text(f"{check.name:{width}} "), Text(check.sentence), sep="")
    if worst(checks) is Level.BAD:
        raise typer.Exit(_BAD)
