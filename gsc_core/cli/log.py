"""`gsc log`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gsc_core.cli.options import AsJson
from gsc_core.cli.terminal import write, write_error
from gsc_core.errors import SpecError

if TYPE_CHECKING:
    from gsc_core.team.journal import Entry, Event


def log(
    person: Annotated[str | None, typer.Option(help="Only what this address did.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind of event, such as deleted; may be repeated."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only from this day or time on, as 2026-11-27 (UTC).")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this model, set or run.")] = None,
    most: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Print who did what in the workspace, the newest last."""
    from gsc_core.team.journal import Wanted, read

    wanted = Wanted(_events(event or []), person, _time(since), subject)
    reading = read(wanted, most)
    for entry in reversed(reading.entries):
        write((entry.line() if as_json else _words(entry)) + "\n")
    if reading.damaged:
        write_error(f"{reading.damaged} damaged lines of the log were left out.\n")


def _events(names: list[str]) -> tuple[Event, ...]:
    from gsc_core.team.journal import Event

    try:
        return tuple(Event(name) for name in names)
    except ValueError as error:
        raise SpecError(f"--event is one of {', '.join(Event)}: choose one of them.") from error


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError("--since is a day or a time such as 2026-11-27T08:30.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _words(entry: Entry) -> str:
    """A line for people; nothing in a name steers the terminal."""
    who = f"{entry.person or '-'} ({entry.role})"
    parts = (
        *(f"{entry.when:%Y-%m-%d %H:%M:%S}", who, entry.event),
        *(entry.what, entry.name, entry.detail, entry.subject),
    )
    return "  ".join(_printable(part) for part in parts if part)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
