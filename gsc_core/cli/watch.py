"""`gsc watch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gsc_core.cli.options import AsJson
from gsc_core.cli.output import console, shown_progress
from gsc_core.cli.terminal import Text, write
from gsc_core.evaluation.counts import between, percent

if TYPE_CHECKING:
    from gsc_core.deploy.watch import Watched

_RISEN = 3
_BROKEN_NAMED = 10


def watch(
    detector: Annotated[
        Path, typer.Option(help="A file written by `gsc export`, such as detector.pt2.")
    ],
    images: Annotated[Path, typer.Option(help="New images: a folder or ZIP.")],
    state: Annotated[
        Path | None,
        typer.Option(
            help="The file that remembers what was counted; by default beside the detector."
        ),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(help="The chance of a false alarm, over all looks together."),
    ] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Say whether more new images are flagged than calibration promised: exit 0 no, 3 risen."""
    from gsc_core.deploy.loading import load_detector
    from gsc_core.deploy.watch import look

    program, card = load_detector(detector)
    kept = state or detector.with_suffix(".watch.json")
    with shown_progress() as on_progress:
        watched = look(program, card, images, kept, alpha=alpha, on_progress=on_progress)
    if as_json:
        write(json.dumps(_document(watched, kept), indent=2, allow_nan=False) + "\n")
    else:
        _print(watched, kept)
    if watched.risen_at is not None:
        raise typer.Exit(_RISEN)


def _print(watched: Watched, state: Path) -> None:
    show, today = console().print, watched.today
    show(Text(watched.sentence, style="bold red" if watched.risen_at else "green"))
    others = (
        (today.already, "counted before"),
        (today.copies, "duplicates"),
        (len(today.broken), "cannot be read"),
    )
    left_out = "".join(f"; {count:,} {why}" for count, why in others if count)
    show(Text(f"This look: {today.seen:,} new, {today.flagged:,} of them flagged{left_out}."))
    sure = f"{percent(1 - watched.alpha)} sure at every look"
    show(
        Text(
            f"The share of flagged images is now {between(watched.low, watched.high)} of 1,000 "
            f"({sure}, if it has not changed since the watch began)."
        )
    )
    if today.least_familiar:
        table = Table(
            "highest scores of this look",
            "outlier score",
            "calibration images that score at most as high",
            "",
        )
        for one in today.least_familiar:
            flag = "flagged" if one.flagged else ""
            cells = (visible(one.name), f"{one.score:.4g}", f"{one.percentile:.1f} %", flag)
            table.add_row(*map(Text, cells))
        show(table)
    for broken in today.broken[:_BROKEN_NAMED]:
        show(Text(f"left out: {visible(broken.name)}: {visible(broken.reason)}"))
    if (more := len(today.broken) - _BROKEN_NAMED) > 0:
        show(Text(f"… and {more:,} more that cannot be read"))
    show(Text(f"Counts: {visible(str(state))}"))


def visible(name: str) -> str:
    """A file's name for a terminal: what would command it, or turn the text, is written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def _document(watched: Watched, state: Path) -> dict[str, Any]:
    today, calibrated = watched.today, watched.calibrated
    return {
        "risen": watched.risen_at is not None,
        "sentence": watched.sentence,
        "alpha": watched.alpha,
        "pictures": watched.seen,
        "outside": watched.flagged,
        "share_low": watched.low,
        "share_high": watched.high,
        "promised_at_most": watched.promised,
        "calibration": {"pictures": calibrated.images, "outside": calibrated.flagged},
        "log_evidence": watched.log_evidence,
        "risen_at": watched.risen_at,
        "this_look": {
            "pictures": today.seen,
            "outside": today.flagged,
            "counted_before": today.already,
            "copies": today.copies,
            "broken": [{"file": one.name, "reason": one.reason} for one in today.broken],
            "strangest": [
                {
                    "file": one.name,
                    "score": one.score,
                    "percentile": one.percentile,
                    "outside": one.flagged,
                }
                for one in today.least_familiar
            ],
        },
        "state": str(state),
    }
