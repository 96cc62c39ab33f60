"""Uploaded images on their way to disk: streams copied piece by piece, names made harmless."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gsc_core.errors import GscError
from gsc_core.images import IMAGE_SUFFIXES
from gsc_core.images.label_table import TABLE_SUFFIXES

_CHUNK = 1 << 20
_NAME_BYTES = 100


def is_archive(names: Sequence[str]) -> bool:
    """Whether these files are one ZIP; raises GscError unless that, or images and tables."""
    suffixes = [PurePosixPath(name).suffix.lower() for name in names]
    if not names:
        raise GscError("Choose a ZIP of images, or image files, first.")
    if ".zip" in suffixes:
        if len(names) > 1:
            raise GscError("Give one ZIP at a time, or image files without a ZIP.")
        return True
    for suffix in suffixes:
        if suffix not in IMAGE_SUFFIXES | TABLE_SUFFIXES:
            raise GscError(
                f'A file ending in "{suffix[:12]}" is not an image: give a ZIP, or image files.'
            )
    return False


def size_of(stream: BinaryIO) -> int:
    """Bytes that are still to be read from a stream; 0 where it cannot tell."""
    if not stream.seekable():
        return 0
    at = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(at)
    return end - at


def spool(files: Sequence[tuple[str, BinaryIO]], into: Path) -> None:
    """Copy streams into the new folder `into`, under harmless names and none twice."""
    into.mkdir()
    taken: set[str] = set()
    for file, stream in files:
        with (into / _free_name(file, taken)).open("xb") as sink:
            shutil.copyfileobj(stream, sink, _CHUNK)


def _free_name(file: str, taken: set[str]) -> str:
    last = "".join(c for c in re.split(r"[/\\]", file)[-1] if c.isprintable())
    suffix = PurePosixPath(last).suffix
    stem = last.removesuffix(suffix).strip(" .").encode()[:_NAME_BYTES].decode(errors="ignore")
    name, number = f"{stem or 'picture'}{suffix}", 1
    while name.casefold() in taken:  # some file systems do not distinguish A from a
        number += 1
        name = f"{stem or 'picture'}-{number}{suffix}"
    taken.add(name.casefold())
    return name
