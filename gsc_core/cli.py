"""`gsc …`: the product on the command line. Exit 0 done, 2 what the user can mend, 1 our fault."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table
from rich.text import Text

from gsc_core import __version__
from gsc_core.errors import GscError, SpecError

app = typer.Typer(
    help="Learn what an image classifier does with pictures it was never meant to see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_INTERRUPTED = 130

Checkpoint = Annotated[
    Path | None, typer.Option("--model", help="A .pt2, .safetensors, .pt or .pth file.")
]
Architecture = Annotated[
    str | None, typer.Option("--arch", help="For weights: torchvision/NAME or timm/NAME.")
]
Pretrained = Annotated[
    bool, typer.Option("--pretrained", help="Take the architecture's own weights from its library.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        help="resize=256,crop=224,interpolation=bicubic,mean=0.5,std=0.5: "
        "one value or three separated by /; pixel values in 0…1.",
    ),
]
Names = Annotated[
    Path | None, typer.Option("--class-names", help="A .txt (a line each) or .json file.")
]


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
        model=_model(model, arch, pretrained, preprocess, class_names),
        id=id_set,
        ood=_named_folders(ood),
        calibration=_share_or_folder(calibration),
        labels=labels,
        detectors=chosen,
        split=split,
        device=device,
        batch_size=batch_size,
        threads=threads,
        seed=seed,
    )
    with _shown_progress() as on_progress:
        document = run_audit(spec, out, on_progress).document
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_result(document, out)


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder for the result; else the workspace.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Audit the embedded road-sign classifier: no files needed."""
    from gsc_core.demo.audit import run_demo

    with _shown_progress() as on_progress:
        result = run_demo(out, on_progress)
    if as_json:
        sys.stdout.write(json.dumps(result.document, indent=2) + "\n")
    else:
        _print_result(result.document, result.folder)


@app.command("detectors")
def list_detectors(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the detectors: what each reads, is fitted with, costs, and its settings."""
    from gsc_core.detectors import CATALOGUE

    rows = [_catalogue_row(detector) for detector in CATALOGUE]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("name", "what it does", "reads", "fitted with", "extra passes", "settings")
    for row in rows:
        settings = "\n".join(f"{k['name']}={k['default']}" for k in row["settings"])
        cells = (row["name"], f"{row['about']} ({row['paper']})", ", ".join(row["reads"]))
        more = (", ".join(row["fitted_with"]) or "nothing", f"{row['extra_passes']:g}", settings)
        table.add_row(*map(Text, (*cells, *more)))
    _console().print(table)


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

    found = splits(load_classifier(_model(model, arch, pretrained, preprocess, None)).program)
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
    _console().print(table)


# --- from words to a specification -----------------------------------------------------------


def _model(
    checkpoint: Path | None,
    arch: str | None,
    pretrained: bool,
    preprocess: str | None,
    class_names: Path | None,
) -> Any:
    from gsc_core.classifier import ModelSpec, Preprocessing

    return ModelSpec(
        checkpoint=checkpoint,
        architecture=arch,
        pretrained=pretrained,
        preprocessing=None if preprocess is None else Preprocessing.parse(preprocess),
        class_names=class_names,
    )


def _named_folders(named: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in named:
        name, folder = _name_and_folder(text)
        if name in folders:
            raise SpecError(f"Two OOD sets are named {name!r}; give each its own name.")
        folders[name] = Path(folder)
    return folders


def _name_and_folder(text: str) -> tuple[str, str]:
    """Both may hold `=` themselves: the first cut with a path that exists, else the first."""
    cuts = [at for at in range(1, len(text) - 1) if text[at] == "="]
    if not cuts:
        raise SpecError(f"--ood {text!r} must be NAME=DIR, such as textures=photos/textures.")
    at = next((at for at in cuts if os.path.lexists(text[at + 1 :])), cuts[0])
    return text[:at], text[at + 1 :]


def _share_or_folder(text: str) -> float | Path:
    try:
        share = float(text)
    except ValueError:
        return Path(text)
    if not 0 < share < 1:
        raise SpecError(f"--calibration {text} must be a folder, or a share between 0 and 1.")
    return share


# --- what is shown ---------------------------------------------------------------------------


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)


@contextmanager
def _shown_progress() -> Iterator[Any]:
    """A bar on a terminal, a line a phase otherwise; on standard error, so that --json is clean."""
    errors = Console(stderr=True)
    if not errors.is_terminal:
        yield _plain_lines()
        return
    # a set's name comes from a person: it is no markup
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeRemainingColumn(), console=errors) as bar:
        tasks: dict[str, Any] = {}

        def show(progress: Any) -> None:
            if progress.phase not in tasks:
                tasks[progress.phase] = bar.add_task(progress.phase)
            bar.update(tasks[progress.phase], completed=progress.done, total=progress.total)

        yield show


def _plain_lines() -> Any:
    """A line at a phase's start and at each tenth of it."""
    told: set[tuple[str, int]] = set()

    def show(progress: Any) -> None:
        tenth = 10 * progress.done // max(1, progress.total)
        if (progress.phase, tenth) not in told:
            told.add((progress.phase, tenth))
            of = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
            sys.stderr.write(f"{progress.phase}{of}\n")
            sys.stderr.flush()

    return show


def _print_result(document: dict[str, Any], out: Path) -> None:
    rows = [row for row in document["results"] if row["ood_set"] == "mean"]
    sets = list(dict.fromkeys(row["ood_set"] for row in document["results"]))
    mean = "mean of the OOD sets" if len(sets) > 2 else sets[0]
    table = Table("detector", "strangers let through (FPR95)", "AUROC", "AUPR-out", "note")
    for row in sorted(rows, key=lambda row: float(row["fpr95"])):
        note = "inverted" if row["detector"] in document["inverted"] else ""
        if document["directions"].get(row["detector"]) == "turned":
            note = f"direction: turned {note}".strip()
        cells = (row["detector"], *(_with_interval(row, m) for m in ("fpr95", "auroc", "aupr_out")))
        table.add_row(*map(Text, (*cells, note)))
    console = _console()
    console.print(Text(f"Letting 95 % of familiar pictures through; {mean}."))
    console.print(table)
    for name, reason in document["excused"].items():
        console.print(Text(f"left out: {name}: {reason}"))
    if document["id_accuracy"] is not None:
        after = "".join(
            f"; after {name}: {_percent(share)}"
            for name, share in document["id_accuracy_after"].items()
        )
        console.print(
            Text(f"Correct on familiar pictures: {_percent(document['id_accuracy'])}{after}")
        )
    else:
        console.print(Text(f"Accuracy is not known. {document['settings']['labels']}"))
    for name, counts in document["images"].items():
        console.print(
            Text(
                f"{name}: {counts['scored']} scored, {counts['broken']} broken, "
                f"{counts['duplicates']} duplicates"
            )
        )
    console.print(Text(f"Result: {out}"))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _with_interval(row: dict[str, Any], metric: str) -> str:
    value, low, high = (100 * row[metric + end] for end in ("", "_low", "_high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _catalogue_row(detector: Any) -> dict[str, Any]:
    paper = detector.paper
    return {
        "name": detector.name,
        "title": detector.title,
        "about": detector.about,
        "paper": f"{paper.venue} {paper.year}, {paper.url}" if paper else "no single paper",
        "reads": [need.name.lower().replace("_", " ") for need in detector.needs],
        "fitted_with": [part.name.lower() for part in detector.fitted_with],
        "extra_passes": detector.extra_passes,
        "settings": [
            {
                "name": knob.name,
                "default": knob.default,
                "about": knob.about,
                "low": knob.low,
                "high": knob.high,
                "choices": list(knob.choices),
            }
            for knob in detector.knobs()
        ],
    }


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
