"""Tar shards as WebDataset packs them: `key.jpg` beside `key.cls`, to listed images.

Archives come from anybody. Nothing is unpacked: an image is read as the part of the file where it
lies. So a shard must not be compressed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, cast

from gsc_core.errors import ImageError
from gsc_core.images.archive import is_hidden
from gsc_core.images.names import composed
from gsc_core.images.opening import IMAGE_SUFFIXES, MAX_BYTES
from gsc_core.images.sources.address import Address, Slice
from gsc_core.images.sources.listed import Listed, quoted, require_names_once, require_text
from gsc_core.images.sources.stores import Place, buffered, opened, size_of

TAR = ".tar"
COMPRESSED = (".tgz", ".gz", ".bz2", ".xz", ".zst")
_LABEL = ".cls"
_MAX_MEMBERS = 1_000_000
_MAX_LABEL_BYTES = 1000
_MAX_HEADER_BYTES = 1 << 20


class _ShortReads(io.RawIOBase):
    """A file that refuses one huge read: a header may claim to be longer than memory."""

    def __init__(self, file: Any) -> None:
        self._file = buffered(file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header is far too long")
        return self._file.read(size)


def images_of_shard(place: Place, within: str = "") -> list[Listed]:
    """The images of a shard in its order, called `within`/name. Raises ImageError for tricks."""
    name = place.name
    size = size_of(place, name)
    images: list[tuple[str, Slice]] = []
    labels: dict[str, str] = {}
    try:
        with (
            opened(place, name) as file,
            tarfile.open(fileobj=_ShortReads(file), mode="r:") as shard,
        ):
            for member in _checked(shard, name, size):
                path = PurePosixPath(member.name)
                if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path):
                    images.append((member.name, Slice(member.offset_data, member.size)))
                elif path.suffix == _LABEL and member.size <= _MAX_LABEL_BYTES:
                    written = shard.extractfile(member)
                    text = written.read() if written else b""
                    labels[_key(member.name)] = composed(text.decode("utf-8", "replace").strip())
            _require_end(file, cast(Any, shard).offset, name)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise ImageError(
            f"{name} is a damaged or compressed tar archive: pack it again, without compression."
        ) from error
    require_names_once([member for member, _ in images], name)
    require_text(labels.values(), name)
    return [
        Listed(f"{within}{member}", Address(place, part), labels.get(_key(member)) or None)
        for member, part in images
    ]


def _checked(shard: tarfile.TarFile, name: str, size: int) -> Iterator[tarfile.TarInfo]:
    """The files of a shard; raises ImageError at the first that no honest packer writes."""
    for count, member in enumerate(shard):
        cast(Any, shard).members = []  # else tarfile remembers each
        if count >= _MAX_MEMBERS:
            raise ImageError(f"{name} holds more than {_MAX_MEMBERS:,} files: split it.")
        if member.isdir():
            continue
        path = PurePosixPath(member.name)
        harmful = path.is_absolute() or ".." in path.parts or "\\" in member.name
        if harmful or not member.name.isprintable():
            raise ImageError(
                f"{name} holds {quoted(member.name)}, a name that could lead outside its folder: "
                "pack it again."
            )
        if not member.isreg() or member.issparse():
            raise ImageError(
                f"{name} holds {quoted(member.name)}, a link, a device or a file with holes: pack "
                "the images themselves."
            )
        if member.size > MAX_BYTES or member.offset_data + member.size > size:
            raise ImageError(
                f"{name} holds {quoted(member.name)}, which is cut off or larger than 500 MB: "
                "pack it again."
            )
        yield member


def _require_end(file: Any, at: int, name: str) -> None:
    """Raise ImageError unless a shard ends `at` that byte with zeros and with nothing after them.

    The library stops without a word at a header that it cannot read, and at the first of two
    archives in one file: the images behind it would be missing.
    """
    file.seek(at)
    end = bytes(file.read(_MAX_HEADER_BYTES))
    if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise ImageError(
            f"{name} is cut off, damaged, or two archives in one: images behind byte {at:,} would "
            "be missing. Pack it again."
        )


def _key(member: str) -> str:
    """What the files of one sample share: all before the first dot of the last part."""
    folder, _, last = member.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"
