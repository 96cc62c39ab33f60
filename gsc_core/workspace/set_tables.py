"""The images of a stored set as tables beside it: what is in it, and what was left out and why.

Written by the worker once it has read the set, so that a page never has to.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.images import ImageFile, ImageSet
from gsc_core.jobs.database import StoredSet
from gsc_core.jobs.home import home
from gsc_core.sentences.csv_safety import harmless

MEMBERS_FILE = "members.parquet"
LEFT_OUT_FILE = "left_out.parquet"
_SOURCE = "labels"  # key in the table of the members


@dataclass(frozen=True)
class Member:
    """One image of a stored set; width and height in pixels as stored, unturned."""

    name: str
    path: Path
    label: str | None
    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class Extent:
    """How large the images of a set are: the smallest and largest side lengths in pixels."""

    widths: tuple[int, int]
    heights: tuple[int, int]


def tables_folder(set_id: str) -> Path:
    """Where the workspace keeps what it knows of a set, and the images it was given."""
    return home() / "imagesets" / set_id


def write(stored: StoredSet, images: ImageSet) -> None:
    """Write both tables of a set that was read; raises GscError when the disk refuses."""
    files = images.images
    within = {
        "name": [image.name for image in files],
        "sha256": [image.sha256 for image in files],
        "label": pa.array([image.label for image in files], pa.string()),
        "width": [image.width for image in files],
        "height": [image.height for image in files],
        "bytes": [image.bytes for image in files],
    }
    outside = [
        *({"name": image.name, "why": image.reason} for image in images.broken),
        *(
            {"name": image.name, "why": f"is a copy of {image.same_as}"}
            for image in images.duplicates
        ),
    ]
    schema = pa.schema({"name": pa.string(), "why": pa.string()})
    folder = tables_folder(stored.id)
    for file, table in (
        (LEFT_OUT_FILE, pa.Table.from_pylist(outside, schema)),
        (MEMBERS_FILE, pa.table(within).replace_schema_metadata({_SOURCE: images.label_source})),
    ):
        with written_aside(folder / file) as part:
            pq.write_table(table, part)


def version(stored: StoredSet) -> int:
    """A number that changes when the set is read again: the key of every cache of its tables."""
    file = tables_folder(stored.id) / MEMBERS_FILE
    return file.stat().st_mtime_ns if file.is_file() else 0


def members(
    stored: StoredSet, offset: int, limit: int, label: str | None = None
) -> tuple[Member, ...]:
    """Images of a set in the order of their names, from `offset` on; of one label where given.

    Raises GscError when the set was not read yet, or its table is damaged.
    """
    table = _read(stored, MEMBERS_FILE, ["name", "label", "width", "height", "bytes"])
    if label is not None:
        table = table.filter(pc.equal(table["label"], label))
    folder = Path(stored.folder)
    return tuple(
        Member(path=folder / row["name"], **row) for row in table.slice(offset, limit).to_pylist()
    )


def left_out(stored: StoredSet) -> list[dict[str, str]]:
    """What of a set is not used, as `name` and `why`: broken files, then copies of others."""
    rows: list[dict[str, str]] = _read(stored, LEFT_OUT_FILE, ["name", "why"]).to_pylist()
    return rows


def left_out_csv(stored: StoredSet) -> bytes:
    """The same as a table to download; a name that a spreadsheet would run stays text."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(("file", "why it is left out"))
    table = _read(stored, LEFT_OUT_FILE, ["name", "why"])
    columns = (harmless(table[column]).to_pylist() for column in table.column_names)
    writer.writerows(zip(*columns, strict=True))
    return lines.getvalue().encode("utf-8-sig")


def label_counts(stored: StoredSet) -> dict[str, int]:
    """How many images each label has, the labels in order; empty without labels."""
    counts = pc.value_counts(_read(stored, MEMBERS_FILE, ["label"])["label"])
    counts = {pair["values"]: pair["counts"] for pair in counts.to_pylist()}
    return {label: counts[label] for label in sorted(filter(None, counts))}


def label_source(stored: StoredSet) -> str:
    """Where the labels come from, in a sentence; empty where an earlier version read the set."""
    metadata = _read(stored, MEMBERS_FILE, ["label"]).schema.metadata or {}
    source: bytes = metadata.get(_SOURCE.encode(), b"")
    return source.decode()


def extent(stored: StoredSet) -> Extent:
    """How large the images of a set are."""
    table = _read(stored, MEMBERS_FILE, ["width", "height"])
    widths, heights = (pc.min_max(table[side]).as_py() for side in ("width", "height"))
    return Extent((widths["min"], widths["max"]), (heights["min"], heights["max"]))


def images_of(stored: StoredSet) -> ImageSet:
    """The set as the audit core takes it, from its table: no image is read again."""
    rows = _read(stored, MEMBERS_FILE, ["name", "sha256", "label"]).to_pylist()
    folder = Path(stored.folder)
    return ImageSet(stored.name, tuple(_file(folder, row) for row in rows))


def _file(folder: Path, row: dict[str, str]) -> ImageFile:
    return ImageFile(folder / row["name"], row["name"], row["sha256"], row["label"])


def _read(stored: StoredSet, file: str, columns: Iterable[str]) -> pa.Table:
    path = tables_folder(stored.id) / file
    try:
        with path.open("rb") as opened:
            return pq.ParquetFile(opened).read(columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise GscError(
            f"The list of the images in {stored.name} cannot be read: have the set read again."
        ) from error
