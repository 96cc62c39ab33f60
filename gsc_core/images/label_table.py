"""A table of labels as people have it: which column names the images, which their labels.

Nothing in it is believed before an image of the set is found by it.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gsc_core.errors import ImageError
from gsc_core.images.names import composed
from gsc_core.images.opening import IMAGE_SUFFIXES

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_FILE_COLUMNS = (
    "file",
    "filename",
    "filepath",
    "image",
    "imageid",
    "imagename",
    "imagepath",
    "imagefile",
    "img",
    "imgname",
    "imgpath",
    "path",
    "name",
    "id",
    "isicid",
    "fname",
)
_LABEL_COLUMNS = (
    "label",
    "labels",
    "class",
    "target",
    "y",
    "classname",
    "classlabel",
    "category",
    "categoryname",
    "labelname",
    "diagnosis",
    "dx",
    "breed",
    "species",
    "classid",
    "categoryid",
    "labelid",
)
_MAX_BYTES = 100_000_000
_ONE = {"1", "1.0", "true"}
_ZERO = {"0", "0.0", "false", ""}


Parts: TypeAlias = tuple[str, ...]
"""A path as the names of its folders and its file."""


class ContradictionError(ImageError):
    """A table gives one image two labels."""


@dataclass(frozen=True)
class LabelTable:
    """What a table says of the images of a set.

    `file` is the table itself, `labels` has the images that it names with a label; `columns` says
    in words where they stand, `is_sure` whether these are labels by their form or the usual names,
    and not any values.
    """

    file: Path
    columns: str
    labels: dict[str, str]
    is_sure: bool

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.file.name


def read_table(table: Path, names: Sequence[str]) -> LabelTable:
    """Find the labels of images called `names`, paths relative to their set, in a table.

    An image is named by its path, by the end of one, or by its bare name where no other has the
    same; with or without the file's suffix. Labels stand in a column of their own, or in one-hot
    columns, named like its class. Raises ImageError when it is not such a table, or names none of
    the images.
    """
    rows = _rows(table)
    finder = _Finder(names)
    head = [] if not rows else rows[0]
    keys = [_key(cell) for cell in head]
    headless = not _is_head(keys) and any(finder.is_file(cell) for cell in head)
    body = rows if headless else rows[1:]
    if headless:
        head = keys = [f"column {at + 1}" for at in range(len(head))]
    file = _file_column(keys, body, finder)
    if file is None:
        raise ImageError(
            f"{table.name} names none of these images: check its file column."
            if any(key in _FILE_COLUMNS for key in keys) and _label_column(keys, None) is not None
            else f"{table.name} has no columns called file and label: name them so in its first "
            "row."
        )
    label = _label_column(keys, file)
    cells: Iterator[tuple[str, str]]
    if label is not None:
        columns = f"columns {head[file].strip()} and {head[label].strip()}"
        cells = ((row[file], row[label]) for row in body if len(row) > max(file, label))
    elif hot := _one_hot_columns(body, file, len(head), finder):
        columns = f"column {head[file].strip()} and a column for each of {len(hot)} classes"
        cells = _decoded(body, file, {at: head[at].strip() for at in hot})
    else:
        raise ImageError(
            f"{table.name} has no column of labels that can be recognised: call it label in its "
            "first row."
        )
    is_sure = label is None or keys[label] in _LABEL_COLUMNS
    return LabelTable(table, columns, finder.labels_of(cells, table.name), is_sure)


def delimiter_of(head: str) -> str:
    """What separates the columns of a table: of the usual characters, that its head has most of."""
    return max(",;\t|", key=head.count)


def _is_head(keys: Sequence[str]) -> bool:
    return any(key in (*_FILE_COLUMNS, *_LABEL_COLUMNS) for key in keys)


def _key(cell: str) -> str:
    """A column's name as it is compared: `Image Id`, `image_id` and `ImageId` are one."""
    return re.sub(r"[\s_-]+", "", cell.casefold())


def _file_column(keys: Sequence[str], body: Sequence[list[str]], finder: _Finder) -> int | None:
    """The column by which images are found: one of the usual names, else any."""
    usual = [keys.index(name) for name in _FILE_COLUMNS if name in keys]
    labels = {at for at, key in enumerate(keys) if key in _LABEL_COLUMNS}
    others = [at for at in range(len(keys)) if at not in usual and at not in labels]

    def images_by(at: int) -> int:
        return sum(len(row) > at and finder.is_file(row[at]) for row in body)

    by_usual = next(
        (at for at in usual if any(len(r) > at and finder.images_of(r[at]) for r in body)), None
    )
    if by_usual is not None:
        return by_usual
    best = max(others, key=images_by, default=None)
    return best if best is not None and images_by(best) else None


def _label_column(keys: Sequence[str], file: int | None) -> int | None:
    """One of the usual names, else the only column beside that of the files."""
    usual = [keys.index(name) for name in _LABEL_COLUMNS if name in keys]
    others = [at for at, key in enumerate(keys) if at != file and key and "unnamed" not in key]
    left = [at for at in usual if at != file]
    if left:
        return left[0]
    return others[0] if len(others) == 1 and file is not None else None


def _one_hot_columns(
    body: Sequence[list[str]], file: int, width: int, finder: _Finder
) -> list[int]:
    """Columns of zeros and ones, where most images have exactly one 1 among them."""
    of_images = [row for row in body if len(row) == width and finder.images_of(row[file])]
    binary = [
        at
        for at in range(width)
        if at != file and all(row[at].strip().lower() in _ONE | _ZERO for row in of_images)
    ]
    single = sum(sum(row[at].strip().lower() in _ONE for at in binary) == 1 for row in of_images)
    return binary if len(binary) > 1 and 2 * single > len(of_images) else []


def _decoded(
    body: Sequence[list[str]], file: int, classes: dict[int, str]
) -> Iterator[tuple[str, str]]:
    for row in body:
        if len(row) > max(file, *classes):
            ones = [name for at, name in classes.items() if row[at].strip().lower() in _ONE]
            yield row[file], ones[0] if len(ones) == 1 else ""


class _Ends:
    """The images whose paths end in the same parts, by hashes in order.

    A dictionary of all ends would take gigabytes for a million images.
    """

    def __init__(self, names: Sequence[str], key: Callable[[Parts], Parts]) -> None:
        self._names, self._key = names, key
        hashes, places = array("q"), array("i")
        for place, name in enumerate(names):
            parts = key(_parts(name))
            for at in range(len(parts)):
                hashes.append(hash(parts[at:]))
                places.append(place)
        order = np.argsort(np.array(hashes), kind="stable")
        self._hashes = array("q", np.array(hashes)[order].tobytes())
        self._places = array("i", np.array(places)[order].tobytes())

    def named(self, end: Parts, *, all_of_them: bool) -> list[str]:
        """Names that end so, in their order; no more than two unless all are wanted."""
        wanted = hash(end)
        names: list[str] = []
        for at in range(bisect_left(self._hashes, wanted), len(self._hashes)):
            if self._hashes[at] != wanted or (len(names) == 2 and not all_of_them):
                break
            name = self._names[self._places[at]]
            if self._key(_parts(name))[-len(end) :] == end:  # else another end has the same hash
                names.append(name)
        return names


class _Finder:
    """Finds the images that a cell of a table means."""

    def __init__(self, names: Sequence[str]) -> None:
        self._ends = _Ends(names, lambda parts: parts)
        self._stems = _Ends(names, _stem)

    def images_of(self, cell: str) -> list[str]:
        """Names of the images that a cell means; several only where it gives all of their end."""
        return self._matching(cell)[1]

    def is_file(self, cell: str) -> bool:
        """Whether it is surely a file's name and no number or word: it has an image's suffix."""
        return _stem(_parts(cell)) != _parts(cell) and bool(self.images_of(cell))

    def labels_of(self, cells: Iterator[tuple[str, str]], table: str) -> dict[str, str]:
        """The label of each image named in pairs of file and label.

        The longest match decides; of equally long ones with different labels, none. Raises
        ContradictionError where one file has two labels.
        """
        listed: dict[str, str] = {}
        best: dict[str, tuple[int, str]] = {}
        for file, cell in cells:
            label = sys.intern(composed(cell.strip()))
            path = "/".join(_parts(file))
            if listed.setdefault(path, label) != label:
                raise ContradictionError(
                    f"{table} gives {path[:80]!r} two labels: keep one of them."
                )
            length, images = self._matching(file)
            for image in images:
                before = best.get(image, (0, ""))
                if length > before[0]:
                    best[image] = (length, label)
                elif length == before[0] and label != before[1]:
                    best[image] = (length, "")
        return {image: label for image, (_, label) in best.items() if label}

    def _matching(self, cell: str) -> tuple[int, list[str]]:
        """How good the match is, and the images."""
        parts = _parts(cell)
        for index, end, worth in (
            (self._ends, parts, len(parts) + 1),
            (self._stems, _stem(parts), 0),
        ):
            for at in range(len(end)):
                whole = at == 0 and len(end) > 1
                images = index.named(end[at:], all_of_them=whole)
                if len(images) == 1 or (images and whole):
                    return worth + len(end) - at, images
                if images:
                    break
        return 0, []


def _parts(path: str) -> Parts:
    parts = composed(path.strip()).replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", "."))


def _stem(parts: Parts) -> Parts:
    """The same without the suffix of an image."""
    if not parts:
        return parts
    name, dot, suffix = parts[-1].rpartition(".")
    return (*parts[:-1], name) if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else parts


def _rows(table: Path) -> list[list[str]]:
    """Read a table as nothing but text."""
    try:
        if table.stat().st_size > _MAX_BYTES:
            raise ImageError(
                f"{table.name} is larger than 100 MB: give a table of files and labels."
            )
        text = table.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = delimiter_of(head)
        if delimiter not in head and table.suffix.lower() == ".txt":
            delimiter = " "
        return [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        ]
    except OSError as error:
        raise ImageError(f"{table.name} cannot be opened: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{table.name} is not a CSV table: save it as CSV, UTF-8.") from error
