"""Files written whole or not at all, by one process, and one sentence for what the disk refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gsc_core.errors import SpecError

DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, IndexError),
    *(ValueError, RuntimeError),  # names that are not text, members that are encrypted
)
"""What Python raises while it reads a ZIP that is damaged, or made to harm."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full(error: BaseException | None) -> bool:
    """Whether this is the error of a disk, or of a person's share of it, that holds no more."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(what: object) -> str:
    """The one sentence for a full disk; `what` could not be written."""
    return f"The disk is full, so {what} could not be written: free some space."


def refusal(path: Path, error: OSError) -> str:
    """Why the disk did not take a file or folder, in one sentence."""
    if is_full(error):
        return disk_full(path)
    return f"{path} cannot be written ({error.strerror or error}): choose another."


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence (SpecError)."""
    try:
        yield
    except OSError as error:
        raise SpecError(refusal(path, error)) from error


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when all went well, and else leaves nothing.

    Raises SpecError when the disk is full or the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    with writing_to(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def sole_writer_in(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, for one writer alone.

    The lock lies on the folder itself, and the kernel releases it when its process ends. What was
    made and stays empty is removed. Raises SpecError: `busy` while another writer holds the folder.
    """
    made = _missing(folder)
    lock = _locked(folder, folder, os.O_RDONLY | os.O_DIRECTORY, busy)
    try:
        yield
    finally:
        _remove_empty(made)
        os.close(lock)


@contextmanager
def sole_writer_of(file: Path, busy: str) -> Iterator[None]:
    """Hold a file, which is there or not, for one writer alone; as `sole_writer_in` does a folder.

    The lock is a file beside it, since what is written aside takes the place of the file itself.
    Raises SpecError, also for a path that can be no file's.
    """
    if not file.name:
        raise SpecError(f"{file} is a folder: name a file in it.")
    made = _missing(file.parent)
    beside = file.with_name(f".{file.name}.lock")
    lock = _locked(beside, file.parent, os.O_RDWR | os.O_CREAT, busy)
    try:
        yield
    finally:
        with suppress(OSError):
            beside.unlink()
        _remove_empty(made)
        os.close(lock)


def _locked(path: Path, folder: Path, flags: int, busy: str) -> int:
    """A descriptor of what lies at `path`, locked; where a disk knows no locks, not locked."""
    while True:
        with writing_to(path):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise SpecError(busy) from error
        except FileNotFoundError:
            pass
        except OSError:
            return descriptor
        os.close(descriptor)  # its holder has just removed it: there is another, or none


def _missing(folder: Path) -> list[Path]:
    """The folders that are to be made for this one, itself first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # the first that is not empty ends it
        for folder in folders:
            folder.rmdir()
