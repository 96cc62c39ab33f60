"""`gsc …`: the product on the command line. Exit 0 done, 2 what the user can mend, 1 our fault."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from gsc_core import __version__
from gsc_core.cli.export import ExportCommand, export
from gsc_core.cli.gate import gate
from gsc_core.cli.options import (
    Architecture,
    AsJson,
    BatchSize,
    Calibration,
    Checkpoint,
    Compiled,
    DecoderProcesses,
    DetectorNames,
    Device,
    GscConfig,
    IdSet,
    Labels,
    Names,
    OodSets,
    PrecisionName,
    Preprocess,
    Pretrained,
    Profile,
    Seed,
    SplitName,
    Threads,
    model_spec,
    named_folders,
    share_or_folder,
)
from gsc_core.cli.output import (
    print_catalogue,
    print_profile,
    print_result,
    print_splits,
    print_tuned,
    shown_progress,
    split_row,
)
from gsc_core.cli.report import report
from gsc_core.cli.watch import watch
from gsc_core.errors import GscError, SpecError
from gsc_core.extras import require
from gsc_core.files import disk_full, is_full
from gsc_core.jobs.allocation import keep_freed_memory
from gsc_core.run.stored import Run
from gsc_core.stopwatch import Stopwatch

app = typer.Typer(
    help="Learn what an image classifier does with images it was never meant to see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_INTERRUPTED = 130
_IMPORTING = "importing"
_NOTHING_KEPT = frozenset({"tune", "ablate"})  # commands that start anew after Ctrl-C
_WITHOUT_ENGINE = frozenset({"gate"})  # commands that read a run alone: torch would take seconds


@app.command()
def audit(
    context: typer.Context,
    id_set: IdSet,
    ood: OodSets,
    out: Annotated[Path, typer.Option("--out", help="The folder for the result.")],
    model: Checkpoint = None,
    arch: Architecture = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    class_names: Names = None,
    calibration: Calibration = "0.5",
    labels: Labels = None,
    detectors: DetectorNames = "all",
    split: SplitName = None,
    gsc_config: GscConfig = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    compiled: Compiled = False,
    batch_size: BatchSize = None,
    threads: Threads = 2,
    decoders: DecoderProcesses = None,
    seed: Seed = 0,
    profile: Profile = False,
    as_json: AsJson = False,
) -> None:
    """Score familiar and unfamiliar images, and say how well each detector separates them."""
    watch = context.find_object(Stopwatch) or Stopwatch()
    watch.exact = profile
    with watch.phase(_IMPORTING):
        from gsc_core.audit.run import run_audit
        from gsc_core.audit.spec import AuditSpec, DetectorSpec
        from gsc_core.audit.tuning_file import with_tuned
        from gsc_core.detectors.catalogue import parse_detectors

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
        precision=precision,
        compiled=compiled,
        batch_size=batch_size,
        threads=threads,
        decoders=decoders,
        seed=seed,
    )
    if gsc_config is not None:
        spec = with_tuned(spec, gsc_config)
    with shown_progress() as on_progress:
        run = run_audit(spec, out, on_progress, watch)
    with watch.phase("printing"):
        _show(run, as_json)
    if profile:
        print_profile(watch)


@app.command()
def tune(
    id_set: IdSet,
    out: Annotated[Path, typer.Option("--out", help="The file to write, such as gsc.json.")],
    model: Checkpoint = None,
    arch: Architecture = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    calibration: Calibration = "0.5",
    split: SplitName = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, separated by commas; the best one is taken.")
    ] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    batch_size: BatchSize = None,
    threads: Threads = 2,
    decoders: DecoderProcesses = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Choose the settings of gsc-auto from familiar images alone, for `audit --gsc-config`."""
    from gsc_core.audit.tuning import TuneSpec
    from gsc_core.audit.tuning import tune as choose

    if split is not None and layers is not None:
        raise SpecError("--split and --layers both name layers: give one of them.")
    spec = TuneSpec(
        model=model_spec(model, arch, pretrained, preprocess, None),
        id=id_set,
        calibration=share_or_folder(calibration),
        split=split,
        layers=() if layers is None else tuple(name.strip() for name in layers.split(",")),
        device=device,
        precision=precision,
        batch_size=batch_size,
        threads=threads,
        decoders=decoders,
        seed=seed,
    )
    with shown_progress() as on_progress:
        tuned = choose(spec, out, on_progress)
    if as_json:
        sys.stdout.write(tuned.model_dump_json(indent=2) + "\n")
    else:
        print_tuned(tuned, out)


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder for the result; else the workspace.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Audit the embedded road-sign classifier: no files needed."""
    from gsc_core.demo.audit import run_demo
    from gsc_core.workspace.demo import pictures_folder, register
    from gsc_core.workspace.runs import DEMO_RUN, run_folder

    with shown_progress() as on_progress:
        result = run_demo(pictures_folder(), out or run_folder(DEMO_RUN), on_progress)
        if out is None:
            register(on_progress)
    _show(result, as_json)


@app.command()
def ablate(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    images: Annotated[
        int, typer.Option(min=20, help="At most so many images of each set, chosen at random.")
    ] = 400,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers from shallow to deep, separated by commas; else the audit's and one "
            "before it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each part of GSC contributes on an audited model, one change at a time."""
    from gsc_core.ablation.findings import document, sentences
    from gsc_core.ablation.run import ablate as measure
    from gsc_core.cli.output import print_ablation
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


for command in (gate, report, watch):
    app.command()(command)
app.command(cls=ExportCommand)(export)


@app.command("detectors")
def list_detectors(
    as_json: AsJson = False,
) -> None:
    """List the detectors: what each reads, is fitted with, costs, and its settings."""
    from gsc_core.detectors.catalogue import CATALOGUE, facts_of

    rows = [facts_of(detector).model_dump(mode="json") for detector in CATALOGUE]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    print_catalogue(rows)


@app.command(hidden=True)
def catalogue() -> None:
    """Print what the web app offers of the engine, which it does not load itself."""
    from gsc_core.workspace.catalogue_maker import make_catalogue

    sys.stdout.write(make_catalogue().model_dump_json() + "\n")


@app.command("splits")
def list_splits(
    model: Checkpoint = None,
    arch: Architecture = None,
    pretrained: Pretrained = False,
    preprocess: Preprocess = None,
    as_json: AsJson = False,
) -> None:
    """List the layers at which GSC can cut a model, and the one it takes by default."""
    from gsc_core.classifier.load import load_classifier
    from gsc_core.classifier.split import default_split, splits

    found = splits(load_classifier(model_spec(model, arch, pretrained, preprocess, None)).program)
    default = default_split(found)
    rows = [split_row(split, default) for split in found]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    print_splits(rows)


@app.command()
def worker(
    lane: Annotated[
        Literal["audit", "prepare", "explain"] | None,
        typer.Option(help="The kind of jobs to run; else all, each lane in its own process."),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds without work; else never for all."),
    ] = None,
    lock: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the jobs that the web app queues. The app starts workers itself when there are none."""
    require("sqlmodel")
    if lane is None:
        from gsc_core.jobs.supervisor import serve

        serve(idle)
        return
    from gsc_core.jobs.database import Lane
    from gsc_core.jobs.worker import run_lane
    from gsc_core.workspace.cleanup import tidy
    from gsc_core.workspace.tasks import TASKS

    run_lane(Lane(lane), TASKS, tidy, idle, lock=lock)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        sys.stdout.write(f"gsc-audit {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand not in _WITHOUT_ENGINE:
        with context.ensure_object(Stopwatch).phase(_IMPORTING):
            from gsc_core.classifier.installation import check_installation

            check_installation()


def main() -> None:
    """Run the command line; errors a user can mend are one sentence on standard error."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell programmers
    keep_freed_memory()
    try:
        app(obj=Stopwatch())
    except GscError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail(_first_of(error))
    except OSError as error:
        if is_full(error):
            _fail(disk_full(error.filename or "the result"))
        if error.filename is None:
            raise
        _fail(f"{error.filename} cannot be used ({error.strerror}): check the path.")
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer turns Ctrl-C into this, without a word
            kept = "Finished chunks are saved: the same command continues from there."
            anew = _NOTHING_KEPT.intersection(sys.argv[1:2])
            sys.stderr.write(f"Stopped. {'Nothing was written.' if anew else kept}\n")
        raise


def _show(run: Run, as_json: bool) -> None:
    """A finished audit, as it was asked for."""
    if as_json:
        sys.stdout.write(run.document.to_json() + "\n")
    else:
        print_result(run)


def _first_of(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}."
    option = str(first["loc"][0]).replace("_", "-")
    return f"--{option} cannot be {first['input']!r}: {first['msg'].lower()}."


def _fail(sentence: str) -> None:
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    sys.exit(2)
