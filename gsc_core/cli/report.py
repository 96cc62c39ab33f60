"""`gsc report`: a run as a document for a colleague, or its scores as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gsc_core.cli.run_argument import opened
from gsc_core.cli.terminal import write, write_error
from gsc_core.errors import GscError, SpecError

if TYPE_CHECKING:
    from gsc_core.run.decisions import Decision
    from gsc_core.run.stored import Run

Format = Literal["html", "pdf", "json", "csv"]
_SUFFIXES: dict[str, Format] = {
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".json": "json",
    ".csv": "csv",
}


def report(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, such as report.html.")],
    as_format: Annotated[
        Format | None,
        typer.Option("--format", help="The format; by default what the file's ending says."),
    ] = None,
    without_images: Annotated[
        bool,
        typer.Option(
            "--without-images", help="Leave out images and file names: for confidential data."
        ),
    ] = False,
    without_channels: Annotated[
        bool,
        typer.Option(
            "--without-channels", help="Do not compute short-circuited channels that are missing."
        ),
    ] = False,
) -> None:
    """Write a run's report as HTML, PDF or JSON, or all its scores as CSV."""
    from gsc_core.extras import require
    from gsc_core.files import written_aside
    from gsc_core.run import decisions

    require("jinja2", "typst")  # whose extra has all that any format needs
    kind = as_format or _format_of(out)
    if out.is_dir():
        raise SpecError(f"--out {out} is a folder: name a file in it, such as report.html.")
    loaded = opened(run)
    decision = decisions.current(loaded)
    if not (without_images or without_channels or kind == "csv"):
        _look_into(loaded, decision)
    content = _content(loaded, decision, kind, images=not without_images)
    with written_aside(out) as part:
        part.write_bytes(content)
    write(f"Report: {out}\n")


def _format_of(out: Path) -> Format:
    try:
        return _SUFFIXES[out.suffix.lower()]
    except KeyError as error:
        raise SpecError(
            f"--out {out} does not say the format: end it in .html, .pdf, .json or .csv, or give "
            "--format."
        ) from error


def _look_into(run: Run, decision: Decision) -> None:
    """Make the explanations that are missing; a report without them is a report all the same."""
    from gsc_core.cli.output import shown_progress
    from gsc_core.workspace import report_images

    try:
        with shown_progress() as on_progress:
            report_images.explain(run, decision, on_progress)
    except GscError as error:
        write_error(f"The short-circuited channels are left out: {error}\n")


def _content(run: Run, decision: Decision, kind: Format, *, images: bool) -> bytes:
    from gsc_core.report import report_of, scores_csv, to_html

    if kind == "csv":
        return scores_csv(run, files=images)
    document = report_of(run, decision, images=images)
    if kind == "pdf":
        from gsc_core.report.pdf import to_pdf

        return to_pdf(document)
    if kind == "json":
        from gsc_core.report.schema import report_json

        return report_json(document).encode()
    return to_html(document).encode()
