"""Files written whole or not at all, and one sentence for what the disk refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gsc_core.errors import SpecError


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence (SpecError)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = f"The disk is full, so {path} could not be written: free some space."
        else:
            sentence = f"{path} cannot be written ({error.strerror or error}): choose another."
        raise SpecError(sentence) from error


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
