"""`gsc mark`: say of images of a run that they do not belong to its test, or what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gsc_core.cli.run_argument import opened
from gsc_core.cli.terminal import write
from gsc_core.errors import GscError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsc_core.run.marks import Doubt
    from gsc_core.run.stored import Run


def mark(
    run: Annotated[str, typer.Argument(help="A run of the workspace, or the folder of an audit.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Images as SET/FILE: id/cat/1.jpg; without any, lists what is marked."),
    ] = None,
    doubt: Annotated[
        str | None,
        typer.Option("--as", help="not unfamiliar, not familiar or unusable: left out."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The class they show: its name or number.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Kept with the mark.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take their marks back.")] = False,
) -> None:
    """Mark images of a run; figures without them are then shown beside those of the audit."""
    stored = opened(run)
    said = any(one is not None for one in (doubt, label, note))
    if files:
        rows = _rows(stored, files)
        if undo:
            if said:
                raise SpecError("--undo takes marks back: leave out --as, --label and --note.")
            _unmark(stored, rows)
        else:
            _mark(stored, rows, _doubt(doubt), _label(stored, label), note)
    elif undo or said:
        raise SpecError("No image was named: give some as SET/FILE, such as id/cat/1.jpg.")
    _say(stored)


def _doubt(text: str | None) -> Doubt | None:
    from gsc_core.run.marks import Doubt

    try:
        return None if text is None else Doubt(text)
    except ValueError as error:
        words = ", ".join(f'"{one}"' for one in Doubt)
        raise SpecError(f"--as {text} is not a mark: use {words}.") from error


def _label(run: Run, text: str | None) -> int | None:
    from gsc_core.run.class_names import names_of

    if text is None:
        return None
    called = [index for index, name in enumerate(names_of(run)) if name == text]
    if len(called) == 1:
        return called[0]
    if called:
        numbers = " or ".join(map(str, called))
        raise SpecError(f"--label {text} is more than one class: give its number, {numbers}.")
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise SpecError(f"--label {text} is not a class of the model: give its name or number.")


def _rows(run: Run, files: Sequence[str]) -> list[int]:
    """The rows of images that are named as SET/FILE. Raises SpecError for one that is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    by_name, rows = run.members().by_name, []
    wanted: dict[str, dict[str, str]] = {}  # of a set, the names in it, as they were given
    for file in files:
        # A set's name may have a slash in it: the longest that fits is meant.
        of_set = max((name for name in by_name if file.startswith(f"{name}/")), key=len, default="")
        wanted.setdefault(of_set, {})[file.removeprefix(f"{of_set}/")] = file
    for of_set, names in wanted.items():
        there = pa.array(by_name.get(of_set, ()), pa.int64())
        theirs = run.files().take(there)
        hits = pc.is_in(theirs, value_set=pa.array(list(names), theirs.type))
        if missing := names.keys() - set(theirs.filter(hits).to_pylist()):
            file = next(names[name] for name in names if name in missing)
            sets = ", ".join(by_name)
            raise SpecError(f"The run has no image {file}: name it as SET/FILE, of {sets}.")
        rows += there.filter(hits).to_pylist()
    return rows


def _mark(
    run: Run, rows: list[int], doubt: Doubt | None, label: int | None, note: str | None
) -> None:
    from gsc_core.run import marks

    if _in_workspace(run):
        from gsc_core.workspace import run_marks

        run_marks.mark(run, rows, doubt=doubt, label=label, note=note)
    else:
        before = marks.of_rows(run, rows)
        marks.store(run, before, marks.marked(run, rows, doubt=doubt, label=label, note=note))


def _unmark(run: Run, rows: list[int]) -> None:
    from gsc_core.run import marks

    if _in_workspace(run):
        from gsc_core.workspace import run_marks

        run_marks.unmark(run, rows)
    else:
        marks.store(run, marks.of_rows(run, rows), ())


def _in_workspace(run: Run) -> bool:
    """Whether it has a log to write to; what the workspace needs comes with an extra."""
    from gsc_core.extras import missing

    if missing("sqlmodel") is not None:
        return False
    from gsc_core.workspace import runs

    return runs.is_in_workspace(run)


def _say(run: Run) -> None:
    """Each mark on a line, then both figures."""
    from gsc_core.run.class_names import class_name
    from gsc_core.run.marks import by_row
    from gsc_core.run.revised import without_marked
    from gsc_core.sentences.marks import both_figures, count_of

    marks = by_row(run).values()
    for one in marks:
        shows = None if one.label is None else f"shows {class_name(run, one.label)}"
        what = "; ".join(filter(None, (one.doubt, shows, one.note)))
        write(f"{one.set}/{one.file}: {what}\n")
    view = without_marked(run)
    if not marks:
        write("No image of this run is marked.\n")
    elif view is not None:
        try:
            write(f"{count_of(marks)}. {both_figures(run, view, marks)}\n")
        except GscError as error:
            write(f"{error}\n")
