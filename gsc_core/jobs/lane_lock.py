"""Who works in a lane: the process that holds the lock on `worker-<lane>.lock`, and no other.

The kernel releases the lock when its process ends, however it ends. It lies on the open file, so
the keeper takes it and hands it to the worker it starts: two keepers never start two.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gsc_core.jobs.database import Lane
from gsc_core.jobs.home import home


class LaneLock:
    """The lock of a lane while it is held, here or by the process that was handed its file."""

    def __init__(self, lane: Lane, file: BinaryIO) -> None:
        self.path = _path(lane)
        self.file = file

    def name(self, pid: int) -> None:
        """Record which process holds it, for whoever must end that one."""
        os.ftruncate(self.file.fileno(), 0)
        os.pwrite(self.file.fileno(), str(pid).encode(), 0)

    def named(self) -> float:
        """When a holder was recorded last, in seconds since 1970; 0 when never."""
        stat = os.fstat(self.file.fileno())
        return stat.st_mtime if stat.st_size else 0.0

    def holds(self) -> bool:
        """Whether this is still the lane's lock: the workspace may have been deleted or remade."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.file.fileno()))
        except OSError:
            return False


@contextmanager
def taken(lane: Lane) -> Iterator[LaneLock | None]:
    """The lock of a lane, or None when another process holds it."""
    path = _path(lane)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield LaneLock(lane, file)


@contextmanager
def handed(lane: Lane, descriptor: int) -> Iterator[LaneLock]:
    """The lock of a lane that the process which started this one took for it."""
    os.set_inheritable(descriptor, False)
    with os.fdopen(descriptor, "r+b") as file:
        yield LaneLock(lane, file)


def holder(lane: Lane) -> int | None:
    """The process that holds a lane's lock, by what it wrote there; 0 before it did."""
    text = _path(lane).read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else 0


def is_held(lane: Lane) -> bool:
    """Whether a process works in a lane, or is just being started for it."""
    try:
        with _path(lane).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # released with the file
    except BlockingIOError:
        return True
    except OSError:  # no lock yet
        return False
    return False


def _path(lane: Lane) -> Path:
    return home() / f"worker-{lane}.lock"
