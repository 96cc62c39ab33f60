"""Parquet with a column of images, as Hugging Face and others write it, to listed images."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from gsc_core.errors import ImageError
from gsc_core.images.sources.address import Address, Cell
from gsc_core.images.sources.listed import Listed
from gsc_core.images.sources.manifest import labels_of, plain
from gsc_core.images.sources.stores import Place, opened

PARQUET = ".parquet"
_IMAGE = ("image", "img", "jpg", "jpeg", "png", "bytes", "content")
_LABEL = ("label", "labels", "cls", "fine_label")
_MAX_GROUP_BYTES = 2_000_000_000


def images_of_table(place: Place, within: str = "") -> list[Listed]:
    """The images of a table in its order, called `within`row. Raises ImageError without any."""
    name = place.name
    with opened(place, name) as file:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
        image = next((n for n in _IMAGE if n in schema.names and _holds_bytes(schema, n)), None)
        if image is None:
            raise ImageError(
                f"{name} has neither a column uri of addresses nor a column image of bytes: name "
                "one of its columns so."
            )
        label = next((column for column in _LABEL if column in schema.names), None)
        labels = labels_of(plain(parquet.read(columns=[label]))[label], name) if label else None
        rows = [parquet.metadata.row_group(at) for at in range(parquet.num_row_groups)]
        if any(group.total_byte_size > _MAX_GROUP_BYTES for group in rows):
            raise ImageError(f"{name} has row groups of more than 2 GB: write smaller ones.")
    cells = [Cell(image, at, row) for at, group in enumerate(rows) for row in range(group.num_rows)]
    return [
        Listed(f"{within}{number:08}", Address(place, cell), labels[number] if labels else None)
        for number, cell in enumerate(cells)
    ]


def _holds_bytes(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    if pa.types.is_struct(kind):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        if "bytes" not in names:
            return False
        kind = kind.field("bytes").type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
