"""The columns of a run's `scores.parquet`, each read once for a version of the file.

A run may have a million rows: what is kept in memory is numbers and codes, never a list of names.
Callers give the file's version (`stored.version_of`), so a replaced file is read again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.run.layout import CALIBRATION, SCORES_FILE

Rows = NDArray[np.intp]

AS_SCORES: dict[str, Any] = {"use_dictionary": ["role", "set"], "row_group_size": 65_536}
"""How the file is written: hardly a score is there twice, so a dictionary makes reading slower, and
of a few images only the groups of rows that they are in are read."""

_FEW = 200  # rows whose cells are remembered
_LEADING = 16  # letters of a digest that order the images: 64 bits


@dataclass(frozen=True)
class Members:
    """Which set each row belongs to: `codes` `[N]` are places in `groups`, (role, set) pairs.

    `without` are rows that count for none.
    """

    groups: tuple[tuple[str, str], ...]
    codes: NDArray[np.int64]
    without: frozenset[int] = frozenset()

    @cached_property
    def by_name(self) -> dict[str, Rows]:
        """Row numbers, rising, of `"id"`, `"calibration"` and each OOD set."""
        small = self.codes.astype(np.min_scalar_type(len(self.groups)))  # sorted without comparing
        order = np.argsort(small, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.groups)))[:-1]
        parts = zip(self.groups, np.split(order, ends), strict=True)
        counting = ((group, self.counting(rows)) for group, rows in parts)
        return {name_of(*group): rows for group, rows in counting if len(rows)}

    def counting(self, rows: Rows) -> Rows:
        """Those of some rows that are not left out, in their order."""
        if not self.without:
            return rows
        return rows[~np.isin(rows, np.fromiter(self.without, dtype=np.intp))]


def name_of(role: str, set_name: str) -> str:
    """What a set is called on every page: its role for familiar images, else its name."""
    return set_name if role == "ood" else role


@lru_cache(maxsize=8)
def members(folder: Path, version: int) -> Members:
    """The set of every row. Raises GscError when the file is missing or damaged."""
    table = _read(folder, ["role", "set"], dictionary=True)
    role, name = (_codes(table[column], folder) for column in ("role", "set"))
    width = len(name.dictionary)
    codes = np.asarray(role.indices, dtype=np.int64) * width + np.asarray(name.indices)
    groups = [
        (role_name, set_name)
        for role_name in role.dictionary.to_pylist()
        for set_name in name.dictionary
    ]
    return Members(tuple((role_name, set_name.as_py()) for role_name, set_name in groups), codes)


@lru_cache(maxsize=8)
def members_without(folder: Path, version: int, rows: frozenset[int]) -> Members:
    """As `members`, with some rows left out."""
    return replace(members(folder, version), without=rows)


@lru_cache(maxsize=48)
def column(folder: Path, version: int, name: str) -> NDArray[Any]:
    """One column of numbers `[N]`, not to be written to; a whole number that is unknown is −1.

    Raises GscError when there is no such column, or one of its scores is not finite.
    """
    array = _numbers(_read(folder, [name])[name], folder)
    array.flags.writeable = False
    return array


def _numbers(values: pa.ChunkedArray, folder: Path) -> NDArray[Any]:
    if pa.types.is_integer(values.type):
        values = pc.fill_null(values, -1)
    array = np.asarray(values.to_numpy())
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise damaged(folder)
    return array


@lru_cache(maxsize=8)
def row_groups(folder: Path, version: int) -> Rows:
    """The first row of each row group of the file, and the number of all rows `[G + 1]`.

    Raises GscError when the file is missing or damaged.
    """
    with _parquet(folder) as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    return np.cumsum([0, *sizes], dtype=np.intp)


@lru_cache(maxsize=8)
def calibration_rows(folder: Path, version: int) -> Rows:
    """The rows of the calibration images, rising; groups whose extremes rule them out are not read.

    Raises GscError when the file is missing or damaged.
    """
    starts, parts = row_groups(folder, version), [np.empty(0, dtype=np.intp)]
    with _parquet(folder) as file:
        place = file.schema_arrow.names.index("role")
        for group, start in enumerate(starts[:-1]):
            extremes = file.metadata.row_group(group).column(place).statistics
            if extremes is None or not extremes.has_min_max or _holds(extremes, CALIBRATION):
                roles = file.read_row_group(group, columns=["role"])["role"].cast(pa.string())
                parts.append(start + np.flatnonzero(pc.equal(roles, CALIBRATION).fill_null(False)))
    return np.concatenate(parts)


def _holds(extremes: pq.Statistics, value: str) -> bool:
    return bool(extremes.min <= value <= extremes.max)


def cells(folder: Path, version: int, name: str, rows: Rows) -> list[Any]:
    """A column at some rows `[K]`, of which only the row groups are read; numbers as by `column`.

    Raises GscError when the file is missing or damaged, or has no such column.
    """
    if len(rows) > _FEW:
        return _cells(folder, version, name, rows)
    return list(_few_cells(folder, version, name, tuple(rows.tolist())))


@lru_cache(maxsize=512)
def _few_cells(folder: Path, version: int, name: str, rows: tuple[int, ...]) -> tuple[Any, ...]:
    """Of a page, which asks for the same at each of its runs."""
    return tuple(_cells(folder, version, name, np.asarray(rows, dtype=np.intp)))


def _cells(folder: Path, version: int, name: str, rows: Rows) -> list[Any]:
    if not len(rows):
        return []
    starts = row_groups(folder, version)
    groups = np.searchsorted(starts, rows, side="right") - 1
    parts = [
        _group(folder, version, name, int(group)).take(rows[groups == group] - starts[group])
        for group in np.unique(groups)
    ]
    in_file = pa.chunked_array([chunk for part in parts for chunk in part.chunks])
    values = in_file.take(np.argsort(np.argsort(groups, kind="stable"), kind="stable"))
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    return list(_numbers(values, folder).tolist() if is_number else values.to_pylist())


@lru_cache(maxsize=8)
def _group(folder: Path, version: int, name: str, group: int) -> pa.ChunkedArray:
    with _parquet(folder) as file:
        return file.read_row_group(group, columns=[name])[name]


@lru_cache(maxsize=4)
def files(folder: Path, version: int) -> pa.ChunkedArray:
    """The names of the images, row by row, as Arrow keeps them."""
    return _read(folder, ["file"])["file"]


@lru_cache(maxsize=2)
def sha256(folder: Path, version: int) -> pa.ChunkedArray:
    """The SHA-256 of the images, row by row, as Arrow keeps them."""
    return _read(folder, ["sha256"])["sha256"]


@lru_cache(maxsize=8)
def column_names(folder: Path, version: int) -> frozenset[str]:
    """What the columns are called: earlier versions wrote fewer. Raises GscError as `members`."""
    with _parquet(folder) as file:
        return frozenset(file.schema_arrow.names)


def rows_of(folder: Path, rows: Rows, columns: Sequence[str]) -> pa.Table:
    """Some columns of some rows, nulls as they are.

    Raises GscError when the file is missing or damaged, or has no such column.
    """
    return _read(folder, list(columns)).take(pa.array(rows))


@lru_cache(maxsize=4)
def digests(folder: Path, version: int) -> NDArray[np.uint64]:
    """The first 64 bits of every image's SHA-256 `[N]`: a random order that is always the same.

    Raises GscError when the file is missing or damaged.
    """
    column = pc.utf8_slice_codeunits(sha256(folder, version), 0, _LEADING)
    try:
        texts = column.cast(pa.binary()).cast(pa.binary(_LEADING)).combine_chunks()
        text = texts.buffers()[1].slice(_LEADING * texts.offset, _LEADING * len(texts))
        leading = np.frombuffer(bytes.fromhex(text.to_pybytes().decode("ascii")), dtype=">u8")
    except (pa.ArrowException, ValueError) as error:
        raise damaged(folder) from error
    if texts.null_count or len(leading) != len(column):
        raise damaged(folder)
    return leading.astype(np.uint64)


def damaged(folder: Path) -> GscError:
    """What is said of a file that cannot be used."""
    return GscError(
        f'The file {SCORES_FILE} of run "{folder.name}" is damaged: run the audit again.'
    )


def _read(folder: Path, columns: list[str], *, dictionary: bool = False) -> pa.Table:
    with _parquet(folder, columns if dictionary else None) as file:
        return file.read(columns=columns).select(columns)


@contextmanager
def _parquet(folder: Path, coded: list[str] | None = None) -> Iterator[pq.ParquetFile]:
    """The file, of which some columns are read as codes; what goes wrong is a GscError."""
    path = folder / SCORES_FILE
    if not path.is_file():
        raise GscError(f'The run "{folder.name}" has no {SCORES_FILE}: run the audit again.')
    try:
        # A file handle, so that an odd path is never read as a dataset or an address.
        with path.open("rb") as file:
            yield pq.ParquetFile(file, read_dictionary=coded)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise damaged(folder) from error


def _codes(values: pa.ChunkedArray, folder: Path) -> pa.DictionaryArray:
    """A text column as one array of codes; other writers may have stored it in several ways."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    coded = values.unify_dictionaries().combine_chunks()
    if coded.null_count or not len(coded):
        raise damaged(folder)
    return coded
