"""A finished run, read back from its folder: its document, and its scores when they are asked for.

Scores are read one detector at a time (see `score_table`): a run of 100,000 images and 20 detectors
would otherwise cost every page view some 20 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.metrics import Floats
from gsc_core.run import score_table
from gsc_core.run.detector_names import name_in
from gsc_core.run.document import (
    DetectorRecord,
    ImageCounts,
    Provenance,
    Result,
    RunDocument,
    Settings,
)
from gsc_core.run.layout import CALIBRATION, ID, LABEL, METRICS_FILE, SCORES_FILE


@dataclass(frozen=True)
class Revision:
    """What people made of single images afterwards: rows left out, and labels corrected.

    labels: pairs of a row and the class that its image shows.
    """

    without: frozenset[int] = frozenset()
    labels: frozenset[tuple[int, int]] = frozenset()

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.without or self.labels)


@dataclass(frozen=True)
class Run:
    """One finished run as it lies on disk: its folder, and what its document holds.

    `revision` is None for what was audited; see `revised.revised`, which makes a run with one.

    >>> from gsc_core import Run
    >>> run = Run.load(Path("result"))
    >>> run.ood_sets
    ('textures', 'noise')
    >>> run.scores("energy")["textures"].shape
    (16,)
    """

    path: Path
    document: RunDocument
    revision: Revision | None = None

    @classmethod
    def load(cls, path: Path) -> Run:
        """Read a run. Raises GscError as `RunDocument.read` does."""
        return cls(path, RunDocument.read(path))

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.path.name

    @property
    def version(self) -> int:
        """A number that changes when the run's files are replaced, and is another for a revision:
        the key of every cache of it."""
        files = version_of(self.path)
        return files if self.revision is None else hash((files, self.revision))

    @property
    def key(self) -> RunKey:
        """What stands for this run among the arguments of a function with a cache."""
        return RunKey(self.path, self.version, self)

    @property
    def rows(self) -> tuple[Result, ...]:
        """Every detector on every OOD set and on their `"mean"`."""
        return self.document.results

    @cached_property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors that were measured, in the order of the document."""
        return tuple(dict.fromkeys(row.detector for row in self.rows))

    @cached_property
    def ood_sets(self) -> tuple[str, ...]:
        """Names of the OOD sets, in the order of the document; `"mean"` is none."""
        return tuple(dict.fromkeys(row.ood_set for row in self.rows if row.ood_set != MEAN))

    @property
    def id_accuracy(self) -> float | None:
        """Share of labelled ID images that are classified correctly; None without labels."""
        return self.document.id_accuracy

    @property
    def id_accuracy_after(self) -> Mapping[str, float]:
        """The same by what is predicted after a detector's short-circuit."""
        return self.document.id_accuracy_after

    @property
    def images(self) -> Mapping[str, ImageCounts]:
        """How many images of each set were scored and left out."""
        return self.document.images

    @property
    def excused(self) -> Mapping[str, str]:
        """Detectors that could not run or failed, with the reason."""
        return self.document.excused

    @cached_property
    def inverted(self) -> frozenset[str]:
        """Detectors by which OOD images or surrogate outliers score lower than ID images."""
        return frozenset(self.document.inverted)

    @cached_property
    def in_sample(self) -> frozenset[str]:
        """Detectors whose calibration scores are of images they learned from."""
        return frozenset(self.document.in_sample)

    @property
    def directions(self) -> Mapping[str, str]:
        """Whether a GSC detector scores `as published` or `turned`."""
        return self.document.directions

    @property
    def settings(self) -> Settings:
        """The specification as it was carried out."""
        return self.document.settings

    @property
    def provenance(self) -> Provenance:
        """What the figures depend on, and where and when they were made."""
        return self.document.provenance

    def name_of(self, detector: str) -> str:
        """The name by which this run has a detector that was renamed, given either; else as it is.

        A run keeps the names it was made with.
        """
        return name_in(self.detectors, detector)

    def record(self, detector: str) -> DetectorRecord | None:
        """What the run says of a detector; None where an earlier version wrote it."""
        return next((record for record in self.document.detectors if record.name == detector), None)

    def row(self, detector: str, ood_set: str = MEAN) -> Result | None:
        """The detector's row for an OOD set or the mean; None when the run has none."""
        wanted = (row for row in self.rows if (row.detector, row.ood_set) == (detector, ood_set))
        return next(wanted, None)

    def best(self) -> Result:
        """The mean row with the lowest FPR95 (then the highest AUROC), inverted ones last.

        It is the best on the very images that show it, which flatters it: the detector that
        decides was named beforehand, see `RunDocument.decision`.
        """
        return self._means()[0]

    def ranked(self) -> list[str]:
        """The detectors, the best first, as `best` ranks them."""
        return [row.detector for row in self._means()]

    def _means(self) -> list[Result]:
        def rank(row: Result) -> tuple[bool, float, float, str]:
            fpr95, auroc = row.value("fpr95"), row.value("auroc")
            return (
                row.detector in self.inverted,
                math.inf if fpr95 is None else fpr95,
                math.inf if auroc is None else -auroc,
                row.detector,
            )

        return sorted((row for row in self.rows if row.ood_set == MEAN), key=rank)

    def scores(self, detector: str) -> dict[str, Floats]:
        """Outlier scores of one detector: `"id"` first, then each OOD set, without calibration.

        Raises GscError when the file is missing, damaged or has no such detector.
        """
        values, by_name = self.column(detector), self.members().by_name
        if not {ID, *self.ood_sets} <= by_name.keys():
            raise score_table.damaged(self.path)
        return {name: values[by_name[name]].astype(np.float64) for name in (ID, *self.ood_sets)}

    def calibration_scores(self, detector: str) -> Floats:
        """Outlier scores of the calibration images, on which thresholds are set.

        Raises GscError as `scores` does, and when the run kept none.
        """
        rows = self.calibration_rows()
        if not len(rows):
            raise score_table.damaged(self.path)
        return np.asarray(self.cells(detector, rows), dtype=np.float64)

    def calibration_rows(self) -> score_table.Rows:
        """The rows of the calibration images, rising. Raises GscError as `members` does."""
        rows = score_table.calibration_rows(self.path, version_of(self.path))
        left_out = self.revision.without if self.revision else frozenset()
        return rows[~np.isin(rows, [*left_out])] if left_out else rows

    def members(self) -> score_table.Members:
        """The set of every row of `scores.parquet`."""
        files = version_of(self.path)
        if self.revision is None:
            return score_table.members(self.path, files)
        return score_table.members_without(self.path, files, self.revision.without)

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers over all rows `[N]`: a detector's scores, `label`, `predicted`."""
        values = score_table.column(self.path, version_of(self.path), name)
        if name != LABEL or self.revision is None or not self.revision.labels:
            return values
        corrected = values.copy()
        rows, classes = zip(*self.revision.labels, strict=True)
        corrected[list(rows)] = classes
        return corrected

    def cells(self, name: str, rows: Sequence[int] | score_table.Rows) -> list[Any]:
        """A column's values in some rows, in their order; a whole number that is unknown is −1.

        Raises GscError as `column` does.
        """
        wanted = np.asarray(rows, dtype=np.intp)
        values = score_table.cells(self.path, version_of(self.path), name, wanted)
        if name != LABEL or self.revision is None:
            return values
        corrected = dict(self.revision.labels)
        return [corrected.get(int(row), value) for row, value in zip(wanted, values, strict=True)]

    @property
    def row_count(self) -> int:
        """How many rows `scores.parquet` has. Raises GscError as `members` does."""
        return int(score_table.row_groups(self.path, version_of(self.path))[-1])

    def files(self) -> pa.ChunkedArray:
        """The names of the images over all rows."""
        return score_table.files(self.path, version_of(self.path))

    def sha256(self, row: int) -> str:
        """The SHA-256 of a row's image, as it was audited."""
        return str(self.cells("sha256", [row])[0])

    def rows_of(self, sets: Sequence[str] | None = None) -> score_table.Rows:
        """Row numbers, rising, of some sets (`"id"`, `"calibration"`, an OOD set's name).

        None takes all but the calibration images. Raises GscError for a set that is not there.
        """
        by_name = self.members().by_name
        wanted = [name for name in by_name if name != CALIBRATION] if sets is None else sets
        if unknown := [name for name in wanted if name not in by_name]:
            raise GscError(f"This run has no set {unknown[0]}: choose another.")
        asked = np.zeros(len(self.members().codes), dtype=np.bool_)
        for name in wanted:
            asked[by_name[name]] = True
        return np.flatnonzero(asked)


@dataclass(frozen=True, eq=False)
class ScoresOf(Mapping[str, dict[str, Floats]]):
    """`Run.scores` of some detectors, read as each is asked for: of millions of images one at a
    time."""

    run: Run
    detectors: tuple[str, ...]

    def __getitem__(self, detector: str) -> dict[str, Floats]:
        return self.run.scores(detector)

    def __iter__(self) -> Iterator[str]:
        return iter(self.detectors)

    def __len__(self) -> int:
        return len(self.detectors)


@dataclass(frozen=True)
class RunKey:
    """A run as the key of a cache: the same files and revision are the same run, and its document
    is not compared."""

    path: Path
    version: int
    run: Run = field(compare=False, repr=False)


def version_of(path: Path) -> int:
    """`Run.version` of the run in a folder, which is not read for it."""
    files = [path / name for name in (METRICS_FILE, SCORES_FILE)]
    stats = [file.stat() for file in files if file.is_file()]
    return hash(tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))
