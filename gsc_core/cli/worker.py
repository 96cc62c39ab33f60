"""`gsc worker`: the jobs that the web app queues."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gsc_core.extras import require


def worker(
    lane: Annotated[
        Literal["audit", "prepare", "explain"] | None,
        typer.Option(help="The kind of jobs to run; by default all, each lane in its own process."),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Stop after this many seconds without work; by default never, if for all kinds.",
        ),
    ] = None,
    lock: Annotated[int | None, typer.Option(hidden=True)] = None,
    starter: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the jobs that the web app queues. The app starts workers itself when there are none."""
    require("sqlmodel")
    from gsc_core.jobs.configuration import configuration

    configuration()  # what is wrong with it is said here, and not by each job
    if lane is None:
        from gsc_core.jobs.supervisor import serve

        serve(idle)
        return
    from gsc_core.jobs.database import Lane
    from gsc_core.jobs.worker import run_lane
    from gsc_core.workspace.cleanup import tidy
    from gsc_core.workspace.tasks import TASKS

    run_lane(Lane(lane), TASKS, tidy, idle, lock=lock, starter=starter)
