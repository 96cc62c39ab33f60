"""Images of a run as people mark them in the app: by whom, in the log, and taken back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gsc_core.run import marks
from gsc_core.run.marks import Doubt, Mark
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import runs

_NAMED = 3  # images by name in a line of the log


@dataclass(frozen=True)
class Change:
    """The marks that some images had, and those that they have."""

    before: tuple[Mark, ...]
    after: tuple[Mark, ...]


def mark(
    run: Run,
    rows: Sequence[int],
    *,
    doubt: Doubt | None = None,
    label: int | None = None,
    note: str | None = None,
) -> Change:
    """Mark images of a run in the name of who acts.

    What is None stays as it was. Raises GscError as `marks.marked` and `marks.store` do, and
    NotAllowedError for who may not.
    """
    person = acting.ensure(Action.MARK, runs.owner(run.id))
    before = marks.of_rows(run, rows)
    after = marks.marked(run, rows, doubt=doubt, label=label, note=note, who=person.name)
    said = " and ".join(_words(doubt, label, note))
    return _changed(run, Change(before, after), said)


def unmark(run: Run, rows: Sequence[int]) -> Change:
    """Take the marks of these images back. Raises as `mark`."""
    acting.ensure(Action.MARK, runs.owner(run.id))
    before = marks.of_rows(run, rows)
    return _changed(run, Change(before, ()), "no longer marked") if before else Change((), ())


def undo(run: Run, change: Change) -> None:
    """The images of a change have the marks that they had before it.

    Raises as `mark`, so also where somebody else has marked one of them since.
    """
    acting.ensure(Action.MARK, runs.owner(run.id))
    _changed(run, Change(change.after, change.before), "undone")


def _changed(run: Run, change: Change, said: str) -> Change:
    """Store it, and put it into the log; both or none."""
    about = change.after or change.before
    marks.store(run, change.before, change.after, noted=lambda: _log(run, about, said))
    return change


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
