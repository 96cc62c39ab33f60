"""A CSV or Parquet table of addresses and labels, columns `uri` and `label`, to listed images.

It may come from anybody. Relative addresses and paths lie below the folder of the manifest itself,
whatever links say; addresses of buckets where the reader may read.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gsc_core.errors import ImageError
from gsc_core.images.names import composed
from gsc_core.images.sources.address import Address, BytesAt
from gsc_core.images.sources.listed import (
    MAX_IMAGES,
    Listed,
    quoted,
    require_names_once,
    require_text,
)
from gsc_core.images.sources.stores import Place, opened, size_of
from gsc_core.images.sources.uri import Reach, Uri, source_of

URI, LABEL = "uri", "label"
_MAX_BYTES = 4_000_000_000


def is_manifest(place: Place) -> bool:
    """Whether it is a table that has a column of addresses."""
    if place.suffix.lower() == ".parquet":
        with opened(place, place.name) as file:
            return URI in pq.ParquetFile(file).schema_arrow.names
    if place.suffix.lower() != ".csv":
        return False
    with opened(place, place.name) as file:
        head = bytes(file.read(4096)).decode("utf-8-sig", "replace").partition("\n")[0]
    return URI in [cell.strip().strip('"') for cell in head.split(",")]


def images_of_manifest(place: Place, reach: Reach) -> list[Listed]:
    """The images of a manifest in its order. Raises ImageError for what cannot be meant."""
    name = place.name
    if size_of(place, name) > _MAX_BYTES:
        raise ImageError(f"{name} is larger than 4 GB: split it into several.")
    table = _read(place)
    if table.num_rows > MAX_IMAGES:
        raise ImageError(f"{name} lists more than {MAX_IMAGES:,} images: split it into several.")
    uris = [text.strip() for text in table[URI].to_pylist()]
    require_text(uris, name)
    require_names_once(uris, name)
    labels = _labels(table, name)
    at = _places(uris, place, reach)
    names = _names(uris)
    require_names_once(names, name)
    return [Listed(*row) for row in zip(names, at, labels, strict=True)]


def _read(place: Place) -> pa.Table:
    name = place.name
    with opened(place, name) as file:
        if place.suffix.lower() == ".parquet":
            parquet = pq.ParquetFile(file)
            there = [column for column in (URI, LABEL) if column in parquet.schema_arrow.names]
            table = parquet.read(columns=there)
        else:
            table = _csv(file, name)
    column = table[URI]
    texts = _is_text(column.type) and not column.null_count
    if not texts or pc.any(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py():
        raise ImageError(f"{name} has rows without an address in its column uri: complete them.")
    return table


def _csv(file: pa.NativeFile, name: str) -> pa.Table:
    options = pa_csv.ConvertOptions(
        column_types={URI: pa.string(), LABEL: pa.string()}, null_values=[]
    )
    try:
        table = pa_csv.read_csv(file, convert_options=options)
    except pa.ArrowInvalid as error:
        raise ImageError(f"{name} is not a CSV table: save it as CSV, UTF-8.") from error
    return table.select([column for column in (URI, LABEL) if column in table.column_names])


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _labels(table: pa.Table, name: str) -> list[str | None]:
    if LABEL not in table.column_names:
        return [None] * table.num_rows
    column = table[LABEL]
    if not (_is_text(column.type) or pa.types.is_integer(column.type)):
        raise ImageError(
            f"{name} has labels that are neither text nor whole numbers: write them as one of "
            "these."
        )
    texts = pc.cast(column, pa.string()).unify_dictionaries().dictionary_encode()
    for chunk in texts.chunks:
        require_text(filter(None, chunk.dictionary.to_pylist()), name)
    return [composed(text.strip()) or None if text else None for text in texts.to_pylist()]


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
