"""Images of a run as people mark them in the app: by whom, in the log, and taken back again."""

from __future__ import annotations

from collections.abc import Sequence

from gsc_core.run import marks
from gsc_core.run.marks import Doubt, Mark
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import runs

_NAMED = 3  # images by name in a line of the log


def mark(
    run: Run,
    rows: Sequence[int],
    *,
    doubt: Doubt | None = None,
    label: int | None = None,
    note: str | None = None,
) -> tuple[Mark, ...]:
    """Mark images of a run in the name of who acts; gives the marks that they had before.

    What is None stays as it was. Raises GscError as `marks.marked` and `marks.store` do, and
    NotAllowedError for who may not.
    """
    person = acting.ensure(Action.MARK, runs.owner(run.id))
    after = marks.marked(run, rows, doubt=doubt, label=label, note=note, who=person.name)
    before = _before(run, rows)
    said = " and ".join(_words(doubt, label, note))
    _log(run, after, said)
    marks.store(run, [one.image for one in after], after)
    return before


def unmark(run: Run, rows: Sequence[int]) -> tuple[Mark, ...]:
    """Take the marks of these images back; gives the marks that they had. Raises as `mark`."""
    acting.ensure(Action.MARK, runs.owner(run.id))
    before = _before(run, rows)
    if before:
        _log(run, before, "no mark any more")
        marks.store(run, [one.image for one in before], ())
    return before


def put_back(run: Run, rows: Sequence[int], before: Sequence[Mark]) -> None:
    """Undo: these images have the marks `before` again, and no others. Raises as `mark`."""
    acting.ensure(Action.MARK, runs.owner(run.id))
    now = _before(run, rows)
    _log(run, now or before, "undone")
    marks.store(run, [one.image for one in (*now, *before)], before)


def _before(run: Run, rows: Sequence[int]) -> tuple[Mark, ...]:
    of_rows = marks.by_row(run)
    return tuple(of_rows[row] for row in sorted(set(rows)) if row in of_rows)


def _words(doubt: Doubt | None, label: int | None, note: str | None) -> list[str]:
    words = [str(doubt)] if doubt else []
    words += [] if label is None else [f"class {label}"]
    return words + (["a note"] if (note or "").strip() else [])


def _log(run: Run, about: Sequence[Mark], said: str) -> None:
    """One line for all images of one press; `marks.json` has each by name."""
    named = ", ".join(f"{one.set}/{one.file}" for one in about[:_NAMED])
    more = f" and {len(about) - _NAMED:,} more" if len(about) > _NAMED else ""
    detail = f"{len(about):,} as {said}: {named}{more}"
    acting.record(Event.MARKED, "run", run.id, runs.title(run.id), detail)
