"""The columns of a run's `scores.parquet`, each read once for a version of the file.

A run may have a million rows: what is kept in memory is numbers and codes, never a list of names.
Callers give the file's version (`stored.version_of`), so a replaced file is read again.
"""

from collections.abc import Sequence
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
from gsc_core.run.layout import SCORES_FILE

Rows = NDArray[np.intp]

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
    values = _read(folder, [name])[name]
    if pa.types.is_integer(values.type):
        values = pc.fill_null(values, -1)
    array = np.asarray(values.to_numpy())
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise damaged(folder)
    array.flags.writeable = False
    return array


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
    try:
        with (folder / SCORES_FILE).open("rb") as file:
            return frozenset(pq.ParquetFile(file).schema_arrow.names)
    except (OSError, pa.ArrowException) as error:
        raise damaged(folder) from error


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
    path = folder / SCORES_FILE
    if not path.is_file():
        raise GscError(f'The run "{folder.name}" has no {SCORES_FILE}: run the audit again.')
    try:
        # A file handle, so that an odd path is never read as a dataset or an address.
        with path.open("rb") as file:
            coded = columns if dictionary else None
            return pq.ParquetFile(file, read_dictionary=coded).read(columns=columns).select(columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise damaged(folder) from error


def _codes(values: pa.ChunkedArray, folder: Path) -> pa.DictionaryArray:
    """A text column as one array of codes; other writers may have stored it in several ways."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    coded = values.unify_dictionaries().combine_chunks()
    if coded.null_count or not len(coded):
        raise damaged(folder)
    return coded
