"""`gsc …`: the product on the command line. Exit 0 done, 2 what the user can mend, 1 our fault."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from gsc_core import __version__
from gsc_core.cli_options import (
    Architecture,
    Checkpoint,
    Names,
    Preprocess,
    Pretrained,
    model_spec,
    named_folders,
    share_or_folder,
)
from gsc_core.errors import GscError
from gsc_core.terminal import catalogue_row, console, print_result, shown_progress

app = typer.Typer(
    help="Learn what an image classifier does with pictures it was never meant to see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_INTERRUPTED = 130


@app.command()
def audit(
    id_set: Annotated[
        Path, typer.Option("--id", help="Pictures the model was made for: a folder or ZIP.")
    ],
    ood: Annotated[
        list[str], typer.Option("--ood", help="NAME=DIR of strangers; may be given several times.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder for the result.")],
    model: Checkpoint = None,
    arch: Architecture = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    class_names: Names = None,
    calibration: Annotated[
        str,
        typer.Option(help="A folder of further ID pictures, or the share of --id to set apart."),
    ] = "0.5",
    labels: Annotated[
        Path | None, typer.Option(help="A CSV table with the columns file and label for --id.")
    ] = None,
    detectors: Annotated[
        str, typer.Option(help="Names such as gsc,energy,knn:k=10, or all; see `gsc detectors`.")
    ] = "all",
    split: Annotated[str | None, typer.Option(help="Where GSC cuts; see `gsc splits`.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(help="Images at a time; else 8 on a CPU and 64 on a GPU.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that decode pictures.")] = 2,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole result as one JSON document.")
    ] = False,
) -> None:
    """Score pictures the model knows and strangers, and tell how well each detector parts them."""
    from gsc_core.audit import AuditSpec, DetectorSpec, run_audit
    from gsc_core.detectors import parse_detectors

    chosen = tuple(DetectorSpec.of(detector) for detector in parse_detectors(detectors))
    spec = AuditSpec(
        model=model_spec(model, arch, pretrained, preprocess, class_names),
        id=id_set,
        ood=named_folders(ood),
        calibration=share_or_folder(calibration),
        labels=labels,
        detectors=chosen,
        split=split,
        device=device,
        batch_size=batch_size,
        threads=threads,
        seed=seed,
    )
    with shown_progress() as on_progress:
        document = run_audit(spec, out, on_progress).document
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        print_result(document, out)


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder for the result; else the workspace.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Audit the embedded road-sign classifier: no files needed."""
    from gsc_core.demo.audit import run_demo
    from gsc_core.workspace.demo import pictures_folder, register
    from gsc_core.workspace.runs import DEMO_RUN, run_folder

    with shown_progress() as on_progress:
        result = run_demo(pictures_folder(), out or run_folder(DEMO_RUN), on_progress)
        if out is None:
            register(on_progress)
    if as_json:
        sys.stdout.write(json.dumps(result.document, indent=2) + "\n")
    else:
        print_result(result.document, result.folder)


@app.command()
def ablate(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    images: Annotated[
        int, typer.Option(min=20, help="Pictures of each set at most; of more, a random part.")
    ] = 400,
    layers: Annotated[
        str | None,
        typer.Option(help="Layers from shallow to deep, with commas; else the audit's and one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what each part of GSC brings on an audited model, one change at a time."""
    from gsc_core.ablation import ablate as measure
    from gsc_core.ablation.findings import document, sentences
    from gsc_core.terminal import print_ablation
    from gsc_core.workspace.ablations import specification
    from gsc_core.workspace.runs import run_folder

    folder = Path(run) if Path(run).is_dir() else run_folder(run)
    names = None if layers is None else layers.split(",")
    spec = specification(folder)
    with shown_progress() as on_progress:
        found = measure(spec, folder, on_progress, images_per_set=images, layers=names)
    if as_json:
        sys.stdout.write(json.dumps(document(found), indent=2, allow_nan=False) + "\n")
    else:
        print_ablation(found, sentences(found), folder)


@app.command("detectors")
def list_detectors(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the detectors: what each reads, is fitted with, costs, and its settings."""
    from gsc_core.detectors import CATALOGUE

    rows = [catalogue_row(detector) for detector in CATALOGUE]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("name", "what it does", "reads", "fitted with", "extra passes", "settings")
    for row in rows:
        settings = "\n".join(f"{k['name']}={k['default']}" for k in row["settings"])
        cells = (row["name"], f"{row['about']} ({row['paper']})", ", ".join(row["reads"]))
        more = (", ".join(row["fitted_with"]) or "nothing", f"{row['extra_passes']:g}", settings)
        table.add_row(*map(Text, (*cells, *more)))
    console().print(table)


@app.command("splits")
def list_splits(
    model: Checkpoint = None,
    arch: Architecture = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the layers at which GSC can cut a model, and the one it takes by default."""
    from gsc_core.classifier import load_classifier
    from gsc_core.classifier.split import default_split, splits

    found = splits(load_classifier(model_spec(model, arch, pretrained, preprocess, None)).program)
    default = default_split(found)
    if as_json:
        rows = [
            {
                "name": split.name,
                "shape": list(split.shape),
                "linear_after": split.linear,
                "also": list(split.aliases),
                "default": split is default,
            }
            for split in found
        ]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("layer", "feature of one image", "after it", "")
    for split in found:
        after = "linear: one gradient a class" if split.linear else "not linear"
        shape = " × ".join(map(str, split.shape))
        table.add_row(*map(Text, (split.name, shape, after, "default" if split is default else "")))
    console().print(table)


@app.command()
def worker(
    lane: Annotated[
        Literal["audit", "prepare", "explain"] | None,
        typer.Option(help="The jobs to do; else all, each lane in a process of its own."),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds without work; else never for all."),
    ] = None,
    lock: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Do the jobs that the web app queues. The app starts workers itself when none is there."""
    if lane is None:
        from gsc_core.workspace.keeper import serve

        serve(idle)
        return
    from gsc_core.workspace.database import Lane
    from gsc_core.workspace.worker import run_lane

    run_lane(Lane(lane), idle, lock=lock)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        sys.stdout.write(f"gsc-audit {__version__}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors a user can mend are one sentence on standard error."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell programmers
    from gsc_core.classifier.installation import check_installation

    try:
        check_installation()
        app()
    except GscError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail(_first_of(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename} cannot be used ({error.strerror}): check the path.")
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer turns Ctrl-C into this, without a word
            sys.stderr.write(
                "Stopped. Finished chunks are kept: the same command goes on from there.\n"
            )
        raise


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}."
    option = str(first["loc"][0]).replace("_", "-")
    return f"--{option} cannot be {first['input']!r}: {first['msg'].lower()}."


def _fail(sentence: str) -> None:
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    sys.exit(2)
