"""Files written whole or not at all, and one sentence for what the disk refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gsc_core.errors import SpecError

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
