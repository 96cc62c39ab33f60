"""Where the bytes of one image lie, and the one reader of them: a file, object or part of one."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from gsc_core.errors import ImageError
from gsc_core.images.opening import MAX_BYTES, read_bytes
from gsc_core.images.sources.stores import Place, opened, part_of, whole


@dataclass(frozen=True)
class Slice:
    """So many bytes of a tar archive, from `offset` on."""

    offset: int
    size: int


@dataclass(frozen=True)
class Cell:
    """A row of a column of bytes, counted within its row group of a Parquet file."""

    column: str
    group: int
    row: int


@dataclass(frozen=True)
class Address:
    """Where the bytes of an image lie: a whole object, or a part of a file or object."""

    place: Place
    part: Slice | Cell | None = None

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return self.place.name

    def read(self, name: str) -> bytes:
        """The bytes. Raises ImageError when they cannot be had, or are more than 500 MB."""
        if isinstance(self.part, Cell):
            return _cell(self.place, self.part, name)
        if isinstance(self.part, Slice):
            return part_of(self.place, self.part.offset, self.part.size, name)
        data = whole(self.place, MAX_BYTES, name)
        if data is None:
            raise ImageError(f"{name} is larger than 500 MB: save it smaller.")
        return data


BytesAt: TypeAlias = Path | Address
"""Where an image lies: a file of a folder, or an address."""


def bytes_of(at: BytesAt, name: str) -> bytes:
    """The bytes of an image, wherever it lies. Raises ImageError when they cannot be had."""
    return at.read(name) if isinstance(at, Address) else read_bytes(at, name)


def image_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The bytes of a column of images, which may stand in a struct beside their paths."""
    if not pa.types.is_struct(column.type):
        return column
    chunks = [chunk.field("bytes") for chunk in column.chunks]
    return pa.chunked_array(chunks, column.type.field("bytes").type)


def _cell(place: Place, cell: Cell, name: str) -> bytes:
    value = _group(place, cell.group, cell.column)[cell.row].as_py()
    if value is None:
        raise ImageError(f"{name} is empty (0 bytes): copy it again.")
    return bytes(value)


@functools.lru_cache(maxsize=2)
def _group(place: Place, group: int, column: str) -> pa.ChunkedArray:
    """A row group's column: images are read in order, so that each group is read once."""
    with opened(place, place.name) as file:
        return image_bytes(pq.ParquetFile(file).read_row_group(group, columns=[column])[column])
