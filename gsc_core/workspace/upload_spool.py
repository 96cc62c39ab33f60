"""Files that browsers send: on disk and not in memory, within limits, gone when their session ends.

Only sessions that were let in may send any. The folder belongs to one server, which holds a lock on
it as long as it lives; what a server that was killed has left is removed by the next.
"""

from __future__ import annotations

import fcntl
import functools
import io
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from gsc_core.files import writing_to
from gsc_core.jobs.configuration import MB, configuration
from gsc_core.jobs.home import home
from gsc_core.team.settings import QuotaError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FOLDER = "uploads"
SEEN_AFTER_S = 5.0
"""Within which a browser tells its page that a file has arrived."""

Key = tuple[str, str]
"""A session's id, and the id of a file in it."""


@dataclass(frozen=True)
class UploadLimits:
    """How many bytes one person, and all together, may have here at a time.

    Without a login each session is taken for a person.
    """

    session_bytes: int
    total_bytes: int

    @classmethod
    def configured(cls) -> UploadLimits:
        """As the operator set them; raises GscError as `configuration` does."""
        settings = configuration()
        return cls(MB * settings.upload_session_mb, MB * settings.upload_total_mb)


class _Visit(NamedTuple):
    """Whom a session's bytes are counted for, and when its login ends."""

    account: str
    until: float


class UploadSpool:
    """The uploads of one server; every method may be called from any thread."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._within, self._limits = folder, limits
        self._own: Path | None = None
        self._lock_file: int | None = None
        self._let_in: dict[str, _Visit] = {}
        self._files: dict[Key, tuple[Path, int, str]] = {}
        self._bytes: Counter[str] = Counter()
        self._incoming: Counter[str] = Counter()
        self._unseen: dict[Key, float] = {}  # since when, by the monotonic clock
        self._lock = RLock()

    def let_in(
        self, session: str, may: bool, person: str | None = None, until: float = math.inf
    ) -> None:
        """Whether a session may send files from now on; what it sent goes when it may no more.

        `person` is whose session it is, where there is a login, which ends at `until`.
        """
        with self._lock:
            visit = _Visit(person or session, until)
            if may and self._let_in.get(session, visit).account == visit.account:
                self._let_in[session] = visit
                return
            self.release(session)
            if may:
                self._let_in[session] = visit

    def may_send(self, session: str) -> bool:
        """Whether a session was let in."""
        visit = self._let_in.get(session)
        return visit is not None and time.time() < visit.until

    def sessions(self) -> frozenset[str]:
        """Those that were let in, and have not ended."""
        return frozenset(self._let_in)

    def held(self) -> int:
        """How many bytes lie here."""
        with self._lock:
            return self._bytes.total()

    def room(self, session: str) -> int:
        """How many bytes a session may still send."""
        with self._lock:
            return self._room(self._account(session))

    def arriving(self, session: str) -> bool:
        """Whether a session is sending a file, or has sent one that its page does not know yet."""
        with self._lock:
            seen = time.monotonic() - SEEN_AFTER_S
            unseen = (since > seen for key, since in self._unseen.items() if key[0] == session)
            return self._incoming[session] > 0 or any(unseen)

    @contextmanager
    def receiving(self, session: str, file: str) -> Iterator[Callable[[bytes], None]]:
        """A function that takes a file piece by piece; it is there when the block ends well.

        It raises QuotaError when there is no more room, and SpecError when the disk refuses.
        """
        self.drop(session, file)
        account, taken = self._account(session), 0

        def write(piece: bytes) -> None:
            nonlocal taken
            with self._lock:
                if len(piece) > self._room(account):
                    raise QuotaError(self._too_much(account))
                self._bytes[account] += len(piece)
            taken += len(piece)
            with writing_to(path):
                sink.write(piece)

        with writing_to(self._within):
            descriptor, name = tempfile.mkstemp(dir=self._folder())
        path = Path(name)
        with self._lock:
            self._incoming[session] += 1
        try:
            with open(descriptor, "wb", buffering=0) as sink:  # noqa: PTH123 - of a descriptor
                yield write
            with self._lock:
                if session not in self._let_in:  # it has ended meanwhile
                    raise QuotaError("The session has ended: open the page again.")
                self._files[session, file] = path, taken, account
                self._unseen[session, file] = time.monotonic()
        except BaseException:
            path.unlink(missing_ok=True)
            with self._lock:
                self._release_bytes(account, taken)
            raise
        finally:
            with self._lock:
                self._incoming[session] -= 1
                self._incoming += Counter()  # forgets those at zero

    def opened(self, session: str, file: str, name: str = "") -> BinaryIO | None:
        """What a session sent, to be read from its start; None when there is no such file.

        `name` is what the stream is called.
        """
        with self._lock:
            self._unseen.pop((session, file), None)
            stored = self._files.get((session, file))
        return None if stored is None else cast(BinaryIO, _Upload(stored[0], name))

    def drop(self, session: str, file: str) -> None:
        """Remove a file, if it is there."""
        with self._lock:
            self._unseen.pop((session, file), None)
            if (session, file) in self._files:
                path, size, account = self._files.pop((session, file))
                self._release_bytes(account, size)
                path.unlink(missing_ok=True)

    def release(self, session: str) -> None:
        """The session has ended: remove its files."""
        with self._lock:
            self._let_in.pop(session, None)
            for of, file in [key for key in self._files if key[0] == session]:
                self.drop(of, file)

    def close(self) -> None:
        """Remove all: the server ends."""
        with self._lock:
            for session in {*self._let_in, *(key[0] for key in self._files)}:
                self.release(session)
            if self._own is not None and self._lock_file is not None:
                shutil.rmtree(self._own, ignore_errors=True)
                os.close(self._lock_file)
                self._own = self._lock_file = None
                with suppress(OSError):
                    self._within.rmdir()

    def remove_abandoned(self) -> None:
        """Remove what servers left that were killed; those that live hold their folders."""
        with suppress(OSError):
            for folder in self._within.iterdir():
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    with suppress(BlockingIOError):
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(descriptor)

    def _folder(self) -> Path:
        """This server's own, made for the first file."""
        with self._lock:
            if self._own is None or not self._own.exists():
                self._within.mkdir(parents=True, exist_ok=True)
                self._own = Path(tempfile.mkdtemp(dir=self._within))
                self._lock_file = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY)
                with suppress(OSError):  # a disk without locks
                    fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._own

    def _account(self, session: str) -> str:
        """Whom the bytes of a session are counted for."""
        visit = self._let_in.get(session)
        return session if visit is None else visit.account

    def _room(self, account: str) -> int:
        return min(
            self._limits.session_bytes - self._bytes[account],
            self._limits.total_bytes - self._bytes.total(),
        )

    def _release_bytes(self, account: str, size: int) -> None:
        self._bytes[account] -= size
        if not self._bytes[account]:
            del self._bytes[account]

    def _too_much(self, account: str) -> str:
        if self._limits.session_bytes - self._bytes[account] <= self._room(account):
            most = f"{self._limits.session_bytes / MB:,.0f} MB, the most a visitor may send"
            return f"Your uploads are more than {most}: remove some, or add those first."
        most = f"{self._limits.total_bytes / MB:,.0f} MB"
        return f"All uploads together are more than {most}: try again later, or ask the operator."


class _Upload(io.RawIOBase):
    """A file that is open only while it is read: a set may be thousands of them."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path, self._at = path, 0
        self._file: io.FileIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            offset += self._path.stat().st_size
        if offset < 0:
            raise ValueError(f"a file has no place {offset}")
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._file is None:
            self._file = io.FileIO(self._path)
        self._file.seek(self._at)
        count = self._file.readinto(buffer) or 0
        self._at += count
        if not count:
            self._close_file()
        return count

    def close(self) -> None:
        self._close_file()
        super().close()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Departures:
    """Tells which sessions have ended: those that stayed away for longer than they may."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._away_since: dict[str, float] = {}

    def ended(
        self, sessions: Iterable[str], is_there: Callable[[str], bool], now: float
    ) -> list[str]:
        """Of these sessions, those that were not there since `patience_s` before now."""
        away = [session for session in sessions if not is_there(session)]
        self._away_since = {session: self._away_since.get(session, now) for session in away}
        return [
            session
            for session, since in self._away_since.items()
            if now - since >= self._patience_s
        ]


@functools.cache
def upload_spool() -> UploadSpool:
    """The one of this server, in GSC_HOME."""
    return UploadSpool(home() / FOLDER, UploadLimits.configured())
