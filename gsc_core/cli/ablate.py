"""`gsc ablate`: what each part of GSC contributes on an audited model."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gsc_core.cli.options import (
    AsJson,
)
from gsc_core.cli.output import (
    shown_progress,
)
from gsc_core.cli.terminal import write


def ablate(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    images: Annotated[
        int, typer.Option(min=20, help="At most this many images of each set, chosen at random.")
    ] = 400,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers from shallow to deep, separated by commas; by default the audit's "
            "and one before it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each part of GSC contributes on an audited model, one change at a time."""
    from gsc_core.ablation.findings import document, sentences
    from gsc_core.ablation.run import ablate as measure
    from gsc_core.audit.spec import AuditSpec
    from gsc_core.cli.output import print_ablation
    from gsc_core.cli.run_argument import folder_of

    folder = folder_of(run)
    names = None if layers is None else layers.split(",")
    spec = AuditSpec.of_run(folder)
    with shown_progress() as on_progress:
        found = measure(spec, folder, on_progress, images_per_set=images, layers=names)
    if as_json:
        write(json.dumps(document(found), indent=2, allow_nan=False) + "\n")
    else:
        print_ablation(found, sentences(found), folder)
