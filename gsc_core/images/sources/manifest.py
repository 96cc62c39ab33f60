"""A CSV or Parquet table of addresses and labels, columns `uri` and `label`, to listed images.

It may come from anybody. Relative addresses and paths lie below the folder of the manifest itself,
whatever links say; addresses of buckets where the reader may read.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from os.path import commonpath
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gsc_core.errors import ImageError
from gsc_core.images.label_table import delimiter_of
from gsc_core.images.names import composed
from gsc_core.images.sources.address import Address, BytesAt
from gsc_core.images.sources.listed import (
    MAX_IMAGES,
    Listed,
    column_called,
    quoted,
    require_names_once,
    require_text,
)
from gsc_core.images.sources.stores import Place, opened, size_of
from gsc_core.images.sources.uri import Reach, Uri, source_of

URI, LABEL = "uri", "label"
_MAX_BYTES = 4_000_000_000
_MAX_HEAD_BYTES = 1 << 16


def is_manifest(place: Place) -> bool:
    """Whether it is a table that has a column of addresses."""
    return column_called(URI, columns_of(place), place.name) is not None


def columns_of(place: Place) -> list[str]:
    """What the columns of a CSV or Parquet table are called, as they are written there."""
    with opened(place, place.name) as file:
        if place.suffix.lower() == ".parquet":
            return list(pq.ParquetFile(file).schema_arrow.names)
        return _columns(_head(file, place.name))


def images_of_manifest(place: Place, reach: Reach) -> list[Listed]:
    """The images of a manifest in its order. Raises ImageError for what cannot be meant."""
    name = place.name
    if size_of(place, name) > _MAX_BYTES:
        raise ImageError(f"{name} is larger than 4 GB: split it into several.")
    table = _read(place)
    if table.num_rows > MAX_IMAGES:
        raise ImageError(f"{name} lists more than {MAX_IMAGES:,} images: split it into several.")
    if not table.num_rows:
        return []
    uris = [text.strip() for text in table[URI].to_pylist()]
    require_text(uris, name)
    require_names_once(uris, name)
    there = LABEL in table.column_names
    labels = labels_of(table[LABEL], name) if there else [None] * table.num_rows
    at = _places(uris, place, reach)
    names = _names(uris)
    require_names_once(names, name)
    return [Listed(*row) for row in zip(names, at, labels, strict=True)]


def _read(place: Place) -> pa.Table:
    """The columns of addresses and, where there is one, of labels, so called."""
    name = place.name
    with opened(place, name) as file:
        table = _parquet(file, name) if place.suffix.lower() == ".parquet" else _csv(file, name)
    column = table[URI]
    texts = _is_text(column.type) and not column.null_count
    if not texts or pc.any(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py():
        raise ImageError(f"{name} has rows without an address in its column uri: complete them.")
    return table


def _parquet(file: pa.NativeFile, name: str) -> pa.Table:
    parquet = pq.ParquetFile(file)
    there = _wanted(parquet.schema_arrow.names, name)
    return plain(parquet.read(columns=list(there)).rename_columns(list(there.values())))


def _csv(file: pa.NativeFile, name: str) -> pa.Table:
    head = _head(file, name)
    file.seek(0)
    there = _wanted(_columns(head), name)
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(there, pa.string()),
        include_columns=list(there),
        null_values=[],
    )
    separated = pa_csv.ParseOptions(delimiter=delimiter_of(head))
    try:
        table = pa_csv.read_csv(file, parse_options=separated, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _not_csv(name) from error
    return table.rename_columns(list(there.values()))


def _wanted(columns: Sequence[str], name: str) -> dict[str, str]:
    """Which columns are read, as they are written, and what they are called here."""
    there = {column_called(wanted, columns, name): wanted for wanted in (URI, LABEL)}
    return {written: wanted for written, wanted in there.items() if written is not None}


def _head(file: pa.NativeFile, name: str) -> str:
    """The first row of a CSV table, as text. Raises ImageError where it is none."""
    start = bytes(file.read(_MAX_HEAD_BYTES))
    if b"\0" in start:
        raise _not_csv(name)
    return start.decode("utf-8-sig", "replace").lstrip("\r\n").partition("\n")[0].rstrip("\r")


def _columns(head: str) -> list[str]:
    return next(csv.reader([head], delimiter=delimiter_of(head)), [])


def _not_csv(name: str) -> ImageError:
    return ImageError(f"{name} is not a CSV table: save it as CSV, UTF-8.")


def plain(table: pa.Table) -> pa.Table:
    """The table with categories, as pandas writes them, and whole floats as what they stand for."""
    for at, column in enumerate(table.columns):
        kind = column.type
        if pa.types.is_dictionary(kind):
            table = table.set_column(at, table.field(at).name, column.cast(kind.value_type))
        elif pa.types.is_floating(kind):  # whole numbers with gaps, as pandas holds them
            with suppress(pa.ArrowInvalid):
                filled = pc.if_else(pc.is_nan(column), None, column)
                table = table.set_column(at, table.field(at).name, filled.cast(pa.int64()))
    return table


def labels_of(column: pa.ChunkedArray, name: str) -> list[str | None]:
    """Labels as text, None where there is none. Raises ImageError for what is no label."""
    if not (_is_text(column.type) or pa.types.is_integer(column.type)):
        raise ImageError(
            f"{name} has labels that are neither text nor whole numbers: write them as one of "
            "these."
        )
    texts = pc.cast(column, pa.string()).unify_dictionaries().dictionary_encode()
    for chunk in texts.chunks:
        require_text(filter(None, chunk.dictionary.to_pylist()), name)
    return [composed(text.strip()) or None if text else None for text in texts.to_pylist()]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _places(uris: Sequence[str], manifest: Place, reach: Reach) -> list[BytesAt]:
    name = manifest.name
    folder = manifest.parent if isinstance(manifest, Path) else None
    root = folder.resolve() if folder else None
    base = None if isinstance(manifest, Path) else Uri(manifest.text.rpartition("/")[0])
    places: list[BytesAt] = []
    for text in uris:
        said = source_of(text)
        if isinstance(said, Uri):
            places.append(Address(said))
        elif base is not None:
            places.append(Address(base.joined(said.as_posix())))
        elif folder is not None and root is not None:
            path = folder / said
            if ".." in said.parts or not _resolved(path).is_relative_to(root):
                raise ImageError(
                    f"{name} names {quoted(text)}, which lies outside the folder of the manifest: "
                    "put the manifest above its images."
                )
            places.append(path)
    reach.require(p.place for p in places if isinstance(p, Address) and isinstance(p.place, Uri))
    return places


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name no disk can hold
        return Path("/")


def _names(uris: Sequence[str]) -> list[str]:
    """Names in the set: what the addresses do not have in common."""
    written = [PurePosixPath(uri).as_posix() for uri in uris]
    first, last = (PurePosixPath(text).parent.as_posix() for text in (min(written), max(written)))
    shared = commonpath([first, last]) if first[:1] == last[:1] else ""
    return [
        text[len(shared) :].lstrip("/") if shared not in ("", ".") else text for text in written
    ]
