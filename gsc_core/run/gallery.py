"""The images of a run: sorted by a score, and each with its file and what was said of it.

An image is named by its row in `scores.parquet`, which a run keeps for good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.compute as pc

from gsc_core.errors import GscError
from gsc_core.run.class_names import class_name
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run, RunKey
from gsc_core.run.summary import remembered

__all__ = ["RunImage", "class_name", "image_bytes", "image_path", "ordered", "run_images"]

FIRST = 96  # rows, two pages of images
Side = Literal["inside", "outside"]


@dataclass(frozen=True)
class RunImage:
    """One image of a run. `set` is `"id"`, `"calibration"` or the name of an OOD set.

    `path` is where it lay when the run was made; it may be gone. `label` and `predicted` are
    class indices (`class_name` names them), `label` None where unknown.
    """

    row: int
    set: str
    role: str
    file: str
    path: Path
    label: int | None
    predicted: int
    confidence: float


def run_images(run: Run, rows: Sequence[int] | Rows) -> tuple[RunImage, ...]:
    """The images of these rows, in their order; raises GscError for a row that is not there."""
    wanted, count = np.asarray(rows, dtype=np.intp), run.row_count
    if len(wanted) and not 0 <= wanted.min() <= wanted.max() < count:
        raise GscError(f"This run has images 0 to {count - 1:,}: choose one from the gallery.")
    names = ("role", "set", "file", "label", "predicted", "confidence")
    columns, places = [run.cells(name, wanted) for name in names], _files(run)
    return tuple(
        RunImage(
            row=int(row),
            set=set_name,
            role=role,
            file=file,
            path=places.path(role, set_name, file),
            label=None if label < 0 else int(label),
            predicted=int(predicted),
            confidence=float(confidence),
        )
        for row, role, set_name, file, label, predicted, confidence in zip(
            wanted, *columns, strict=True
        )
    )


@dataclass(frozen=True)
class Wanted:
    """Which rows, and in what order.

    sets: names such as `"id"`, `"calibration"` or an OOD set's; None takes all but the calibration
    images. predicted: one class. threshold, side: `"inside"` keeps scores at or below it (let
    through) and `"outside"` those above. descending: the least familiar first. named: a part of the
    file's name, in letters of either case.
    """

    sets: tuple[str, ...] | None = None
    predicted: int | None = None
    threshold: float | None = None
    side: Side | None = None
    descending: bool = True
    named: str = ""


EVERY = Wanted()


def ordered(run: Run, detector: str, wanted: Wanted = EVERY) -> Rows:
    """Row numbers sorted by a detector's outlier score; equal scores stay in row order.

    Raises GscError for an unknown detector or set.
    """
    return _ordered(run.key, detector, wanted)


class InOrder:
    """Row numbers in order, of which the first may be there before the others are sorted."""

    def __init__(self, first: FirstRows, whole: Callable[[], Rows]) -> None:
        self._first, self._whole = first, whole

    def __len__(self) -> int:
        return self._first.count

    def __getitem__(self, part: slice) -> Rows:
        start, stop, _ = part.indices(len(self))
        there = self._first.rows
        return np.asarray(there[part] if stop <= len(there) else self.whole[start:stop], np.intp)

    @property
    def whole(self) -> Rows:
        """All of them."""
        return self._whole()

    @classmethod
    def of(cls, rows: Rows) -> InOrder:
        """Of rows that are sorted."""
        return cls(FirstRows(len(rows), ()), lambda: rows)


@dataclass(frozen=True)
class FirstRows:
    """How many rows there are, and the first of them in order."""

    count: int
    rows: tuple[int, ...]


def in_order(run: Run, detector: str, wanted: Wanted = EVERY) -> InOrder:
    """The rows that `ordered` gives, sorted when more than the first are asked for."""
    return InOrder(first_rows(run, detector, wanted), lambda: _ordered(run.key, detector, wanted))


@remembered
def first_rows(run: Run, detector: str, wanted: Wanted) -> FirstRows:
    """Two pages of what `ordered` gives. Raises GscError as it does."""
    rows = _ordered(run.key, detector, wanted)
    return FirstRows(len(rows), tuple(rows[:FIRST].tolist()))


@lru_cache(maxsize=4)  # a page asks for the same at each of its runs; millions take seconds
def _ordered(key: RunKey, detector: str, wanted: Wanted) -> Rows:
    run = key.run
    rows = run.rows_of(wanted.sets)
    values = run.column(detector)
    if wanted.predicted is not None:
        rows = rows[run.column("predicted")[rows] == wanted.predicted]
    if wanted.threshold is not None and wanted.side is not None:
        # Scores are float32: a plain float would be rounded to that before it is compared.
        accepted = values[rows] <= np.float64(wanted.threshold)
        rows = rows[accepted == (wanted.side == "inside")]
    if wanted.named:
        hits = pc.match_substring(run.files(), wanted.named, ignore_case=True)
        rows = rows[np.asarray(hits.to_numpy(), dtype=np.bool_)[rows]]
    scores = values[rows]
    order: Rows = rows[np.argsort(-scores if wanted.descending else scores, kind="stable")]
    order.flags.writeable = False
    return order


def image_path(run: Run, role: str, set_name: str, file: str) -> Path:
    """The file of an image; raises GscError when it is gone or its name leads elsewhere."""
    return _files(run).find(role, set_name, file)


def image_bytes(run: Run, row: int) -> bytes:
    """The image of a row as it was audited; raises GscError when it is gone or has changed."""
    (one,) = run_images(run, [row])
    return _files(run).read(one.role, one.set, one.file, run.sha256(row))


def _files(run: Run) -> ImageFiles:
    return ImageFiles.of(run.path, run.settings)
