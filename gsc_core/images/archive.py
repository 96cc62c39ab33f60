"""An untrusted ZIP to a folder of images: checked by its directory, then member by member.

Sizes in the directory can lie, so the bytes are counted again while they are written.
"""

import io
import re
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from gsc_core.errors import ImageError
from gsc_core.files import DAMAGED_ZIP, disk_full
from gsc_core.images.aside import folder_written_aside
from gsc_core.images.label_table import TABLE_SUFFIXES
from gsc_core.images.opening import IMAGE_SUFFIXES

_CHUNK = 1 << 20
_DIRECTORY_BYTES_A_MEMBER = 256
_MADE_OF = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may ask for gigabytes to unpack a byte


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: members, unpacked bytes, expansion of a file, name length, depth.

    Folders cost room on the disk that no directory of a ZIP tells: so their depth is limited too.
    """

    members: int = 200_000
    total_bytes: int = 20_000_000_000
    ratio: float = 200.0  # over files that unpack to more than a megabyte
    name_bytes: int = 200  # of one component; file systems stop at 255
    depth: int = 16  # components of a name


@dataclass(frozen=True)
class Contents:
    """What `unpack` takes from an archive, and the names of what stays inside.

    `too_long` are images and tables with names no disk can hold, `others` are other files.
    """

    members: tuple[zipfile.ZipInfo, ...]
    too_long: tuple[str, ...]
    others: tuple[str, ...]


def unpack(zip_path: Path, into: Path, limits: Limits = Limits()) -> Path:
    """Unpack the images and tables of a ZIP into the new folder `into`, and return it.

    Hidden files, `__MACOSX`, archives inside the archive and all else stay inside; so do files
    whose names are too long for a disk (`inspect` lists them). Raises ImageError, and leaves
    nothing behind, when the file is no ZIP, is damaged or encrypted, names a place outside
    `into`, holds links or one name twice, or unpacks to more than `limits` or the disk allows.
    """
    with folder_written_aside(into) as part, _opened(zip_path, limits) as archive:
        contents = _checked(archive, zip_path.name, limits)
        _check_room(contents, part)
        left = limits.total_bytes
        for member in contents.members:
            target = part / PurePosixPath(member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("xb") as sink:
                left -= _copy(source, sink, left, zip_path.name)
    return into


def inspect(zip_path: Path, limits: Limits = Limits()) -> Contents:
    """Check a ZIP by its directory alone, writing nothing; raises ImageError as `unpack` does."""
    with _opened(zip_path, limits) as archive:
        return _checked(archive, zip_path.name, limits)


@contextmanager
def guarded(
    zip_path: Path, limits: Limits
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """A ZIP and all files in it, of whatever kind, none of which leads out of a folder.

    Raises ImageError as `unpack` does, for the ratio excepted; what is read is to be counted.
    """
    with _opened(zip_path, limits) as archive:
        yield archive, _files(archive, zip_path.name, limits)


class _ShortReads(io.BufferedReader):
    """A file that refuses one huge read: zipfile reads an archive's whole directory in one."""

    limit: int = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.limit:
            raise ImageError("The ZIP lists far too many files: split it into several.")
        return super().read(size)


@contextmanager
def _opened(zip_path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    name = zip_path.name
    try:
        raw = io.FileIO(zip_path)
    except OSError as error:
        raise ImageError(f"{name} cannot be opened: {error.strerror or error}.") from error
    try:
        with _ShortReads(raw) as file:
            file.limit = max(_CHUNK, limits.members * _DIRECTORY_BYTES_A_MEMBER)
            if not zipfile.is_zipfile(file):
                raise ImageError(f"{name} is not a ZIP archive: pack the images as .zip.")
            with zipfile.ZipFile(file) as archive:
                yield archive
    except DAMAGED_ZIP as error:
        raise ImageError(f"{name} is a damaged ZIP archive: make or copy it again.") from error


def _files(archive: zipfile.ZipFile, name: str, limits: Limits) -> list[zipfile.ZipInfo]:
    """What is in an archive and no folder, checked by its directory."""
    listed = archive.infolist()
    if len(listed) > limits.members:
        raise ImageError(f"{name} holds more than {limits.members:,} files: split it into several.")
    for member in listed:  # before anything else is asked of a name
        _check_place(member, name)
    files = [member for member in listed if not member.is_dir()]
    for member in files:
        _check_kind(member, name)
    _check_names_once(files, name)
    return files


def _checked(archive: zipfile.ZipFile, name: str, limits: Limits) -> Contents:
    files = _files(archive, name, limits)
    visible = [member for member in files if not is_hidden(PurePosixPath(member.filename))]
    wanted = [member for member in visible if _is_wanted(member)]
    for member in wanted:
        _check_ratio(member, name, limits)
    if sum(member.file_size for member in wanted) > limits.total_bytes:
        raise ImageError(_too_much(name))
    return Contents(
        tuple(member for member in wanted if _fits(member.filename, limits)),
        tuple(member.filename for member in wanted if not _fits(member.filename, limits)),
        tuple(member.filename for member in visible if not _is_wanted(member)),
    )


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a path below a set's root is hidden, or what macOS and Windows leave in folders."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db") for part in path.parts)


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    return PurePosixPath(member.filename).suffix.lower() in IMAGE_SUFFIXES | TABLE_SUFFIXES


def _check_place(member: zipfile.ZipInfo, name: str) -> None:
    # orig_filename: zipfile itself cuts names at a NUL and turns backslashes on Windows.
    stored = member.orig_filename
    if not member.filename:
        raise ImageError(f"{name} holds a file without a name: pack it again.")
    outside = stored.startswith("/") or ".." in stored.split("/")
    if outside or "\\" in stored or "\0" in stored or re.match("[A-Za-z]:", stored):
        raise ImageError(
            f"{name} holds {_quoted(stored)}, a name that could lead outside its folder: "
            "pack it again with an ordinary ZIP program."
        )


def _check_kind(member: zipfile.ZipInfo, name: str) -> None:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ImageError(
            f"{name} holds {_quoted(member.filename)}, a link or device, not a file: "
            "pack the images themselves."
        )
    if member.flag_bits & 0x1:
        raise ImageError(f"{name} is encrypted: pack it again without a password.")
    if member.compress_type not in _MADE_OF:
        raise ImageError(f"{name} is packed in an unusual way: pack it again as an ordinary ZIP.")


def _check_names_once(files: list[zipfile.ZipInfo], name: str) -> None:
    counts = Counter(PurePosixPath(member.filename) for member in files)
    for path, count in counts.items():
        if count > 1 or any(parent in counts for parent in path.parents):
            raise ImageError(f"{name} uses a name twice, in {_quoted(str(path))}: pack it again.")


def _check_ratio(member: zipfile.ZipInfo, name: str, limits: Limits) -> None:
    small = member.file_size <= _CHUNK
    if not small and member.file_size > limits.ratio * max(member.compress_size, 1):
        raise ImageError(
            f"{name} holds {_quoted(member.filename)}, which unpacks to more than "
            f"{limits.ratio:g} times its size: leave it out, or save it as PNG or JPEG."
        )


def _fits(filename: str, limits: Limits) -> bool:
    parts = [len(part.encode("utf-8", "replace")) for part in PurePosixPath(filename).parts]
    short = max(parts) <= limits.name_bytes and sum(parts) <= 5 * limits.name_bytes
    return short and len(parts) <= limits.depth


def _check_room(contents: Contents, folder: Path) -> None:
    needed = sum(member.file_size for member in contents.members)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ImageError(
            f"{disk_full('the archive')} It needs {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free."
        )


def _copy(source: IO[bytes], sink: IO[bytes], left: int, name: str) -> int:
    copied = 0
    while chunk := source.read(_CHUNK):
        copied += len(chunk)
        if copied > left:
            raise ImageError(_too_much(name))
        sink.write(chunk)
    return copied


def _too_much(name: str) -> str:
    return f"{name} unpacks to more than is allowed: split it into several."


def _quoted(filename: str) -> str:
    return ascii(filename if len(filename) <= 60 else filename[:60] + "…")
