"""The log of who did what: `journal.jsonl` in GSC_HOME, one line of JSON each, only ever appended.

A line is pure ASCII whatever is in a name, so no name makes a second line or steers a terminal. A
line that a crash has cut off spoils itself alone.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from json import dumps
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gsc_core.files import writing_to
from gsc_core.jobs.home import home

JOURNAL_FILE = "journal.jsonl"
LONGEST = 300  # characters of a text in it
_BLOCK = 2**16


class Event(StrEnum):
    """What was done."""

    LOGIN = "login"
    LOGOUT = "logout"
    NOT_INVITED = "not invited"
    REFUSED = "refused"
    ADDED = "added"
    STARTED = "started"
    CANCELLED = "cancelled"
    CHANGED = "changed"
    DECIDED = "decided"
    MARKED = "marked"
    DOWNLOADED = "downloaded"
    SHARED = "shared"
    OPENED = "opened"
    REVOKED = "revoked"
    DELETED = "deleted"
    RESTORED = "restored"
    REMOVED = "removed"


class Entry(BaseModel):
    """One line. `what` is the kind of thing (`model`, `run`, …), `subject` its id.

    `time` is in seconds since 1970; `person` is None where there is no login.
    """

    model_config = ConfigDict(frozen=True)

    time: float = Field(default_factory=time.time)
    event: Event
    person: str | None = None
    role: str = ""
    what: str = ""
    subject: str = ""
    name: str = ""
    detail: str = ""

    @property
    def when(self) -> datetime:
        """Its time, in UTC."""
        return datetime.fromtimestamp(self.time, UTC)

    def line(self) -> str:
        """As it is stored, without the end of the line: ASCII, long texts cut."""
        cut = {
            key: _plain(value) if isinstance(value, str) else value
            for key, value in dict(self).items()
        }
        return dumps(cut, ensure_ascii=True)


def _plain(text: str) -> str:
    """Not too long, and without halves of letters, which no reader of JSON takes."""
    return text[:LONGEST].encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Wanted:
    """Which entries are asked for; what is None or empty leaves none out."""

    events: tuple[Event, ...] = ()
    person: str | None = None
    since: float | None = None
    subject: str | None = None

    def includes(self, entry: Entry) -> bool:
        """Whether an entry is one of them."""
        return (
            (not self.events or entry.event in self.events)
            and (self.person is None or (entry.person or "").casefold() == self.person.casefold())
            and (self.since is None or entry.time >= self.since)
            and (self.subject is None or entry.subject == self.subject)
        )


@dataclass(frozen=True)
class Reading:
    """Entries, the newest first, and how many lines between them could not be read."""

    entries: tuple[Entry, ...]
    damaged: int


def append(entry: Entry) -> None:
    """Add a line, whole or not at all. Raises SpecError when the disk refuses."""
    path = home() / JOURNAL_FILE
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _append(descriptor, f"{entry.line()}\n".encode("ascii"))
        finally:
            os.close(descriptor)


def read(wanted: Wanted = Wanted(), most: int | None = None) -> Reading:
    """The newest entries that are wanted. Raises SpecError when the file cannot be read."""
    path = home() / JOURNAL_FILE
    damaged = 0

    def entries(file: BinaryIO) -> Iterator[Entry]:
        nonlocal damaged
        for line in _lines_from_the_end(file):
            try:
                entry = Entry.model_validate_json(line)
            except ValidationError:
                damaged += 1
            else:
                if wanted.includes(entry):
                    yield entry

    if not path.exists():
        return Reading((), 0)
    with writing_to(path), path.open("rb") as file:
        return Reading(tuple(islice(entries(file), most)), damaged)


def _append(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":  # what wrote the last one was killed
        line = b"\n" + line
    written = os.write(descriptor, line)
    if written < len(line):  # half a line would be damage
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _lines_from_the_end(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file that are not empty, the last first, without reading all of it at once."""
    at, rest = file.seek(0, os.SEEK_END), b""
    while at > 0:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        first, *lines = (file.read(size) + rest).split(b"\n")
        rest = first
        yield from filter(None, reversed(lines))
    if rest:
        yield rest
