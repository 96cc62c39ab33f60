"""A finished run, read back from its folder: `metrics.json` and `scores.parquet`.

Scores are read one detector at a time, when asked for (see `score_table`): a run of 100,000 images
and 20 detectors would otherwise cost every page view some 20 MB.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import between, in_1000
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.evaluation.metrics import METRICS, Floats
from gsc_core.run.layout import METRICS_FILE, SCORES_FILE
from gsc_core.workspace import queue, score_table
from gsc_core.workspace.database import Kind
from gsc_core.workspace.home import home

DEMO_RUN = "demo"
DEMO_TITLE = "Demo: road signs"

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Row:
    """One detector on one OOD set (or on their `"mean"`), each metric with its interval."""

    detector: str
    ood_set: str
    metrics: Mapping[str, Interval]


class ImageCounts(BaseModel):
    """How many images of a set were scored, and how many were left out and why."""

    model_config = ConfigDict(frozen=True)

    scored: int = Field(ge=0)
    broken: int = Field(default=0, ge=0)
    duplicates: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class StoredRun:
    """One run as it lies on disk; see `load_run`.

    detectors and ood_sets keep the order of the file; `"mean"` is not an OOD set.
    excused: detectors that could not run, with the reason. inverted: detectors by which strangers,
    or stand-ins for them made from calibration images, score lower than familiar pictures.
    directions: whether a GSC detector scores `as published` or `turned`. in_sample: detectors whose
    calibration scores are of images they learned from, so that thresholds promise too much.
    """

    id: str
    path: Path
    rows: tuple[Row, ...]
    detectors: tuple[str, ...]
    ood_sets: tuple[str, ...]
    id_accuracy: float | None
    id_accuracy_after: Mapping[str, float]
    images: Mapping[str, ImageCounts]
    excused: Mapping[str, str]
    inverted: frozenset[str]
    directions: Mapping[str, str]
    in_sample: frozenset[str]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def row(self, detector: str, ood_set: str = MEAN) -> Row | None:
        """The detector's row for an OOD set or the mean; None when the run has none."""
        wanted = (row for row in self.rows if (row.detector, row.ood_set) == (detector, ood_set))
        return next(wanted, None)

    def best(self) -> Row:
        """The mean row with the lowest FPR95 (then the highest AUROC), inverted ones last."""
        return self._means()[0]

    def ranked(self) -> list[str]:
        """The detectors, the best first, as `best` ranks them."""
        return [row.detector for row in self._means()]

    def _means(self) -> list[Row]:
        return sorted(
            (row for row in self.rows if row.ood_set == MEAN),
            key=lambda row: (
                row.detector in self.inverted,
                row.metrics["fpr95"].value,
                -row.metrics["auroc"].value,
                row.detector,
            ),
        )

    def scores(self, detector: str) -> dict[str, Floats]:
        """Outlier scores of one detector: `"id"` first, then each OOD set, without calibration.

        Raises GscError when the file is missing, damaged or has no such detector.
        """
        values, by_name = self.column(detector), self.members().by_name
        if not {"id", *self.ood_sets} <= by_name.keys():
            raise score_table.damaged(self.path)
        return {name: values[by_name[name]].astype(np.float64) for name in ("id", *self.ood_sets)}

    def calibration_scores(self, detector: str) -> Floats:
        """Outlier scores of the calibration images, on which thresholds are set.

        Raises GscError as `scores` does, and when the run kept none.
        """
        rows = self.members().by_name.get("calibration")
        if rows is None:
            raise score_table.damaged(self.path)
        return np.asarray(self.column(detector)[rows], dtype=np.float64)

    def members(self) -> score_table.Members:
        """The set of every row of `scores.parquet`."""
        return score_table.members(self.path, version(self.path))

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers over all rows `[N]`: a detector's scores, `label`, `predicted`."""
        return score_table.column(self.path, version(self.path), name)

    def files(self) -> pa.ChunkedArray:
        """The names of the pictures over all rows."""
        return score_table.files(self.path, version(self.path))

    def sha256(self, row: int) -> str:
        """The SHA-256 of a row's picture, as it was audited."""
        return str(score_table.sha256(self.path, version(self.path))[row].as_py())

    def rows_of(self, sets: Sequence[str] | None = None) -> score_table.Rows:
        """Row numbers, rising, of some sets (`"id"`, `"calibration"`, an OOD set's name).

        None takes all but the calibration images. Raises GscError for a set that is not there.
        """
        by_name = self.members().by_name
        wanted = [name for name in by_name if name != "calibration"] if sets is None else sets
        if unknown := [name for name in wanted if name not in by_name]:
            raise GscError(f"This run has no set {unknown[0]}: choose another.")
        if not wanted:
            return np.empty(0, dtype=np.intp)
        return np.sort(np.concatenate([by_name[name] for name in dict.fromkeys(wanted)]))


class _Stored(BaseModel):
    """The shape of metrics.json; unknown keys are left for newer readers."""

    results: list["_StoredRow"] = Field(min_length=1)
    id_accuracy: Share | None = None
    id_accuracy_after: dict[str, Share] = {}
    images: dict[str, ImageCounts] = {}
    excused: dict[str, str] = {}
    inverted: frozenset[str] = frozenset()
    directions: dict[str, str] = {}
    in_sample: frozenset[str] = frozenset()
    settings: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _has_means(self) -> "_Stored":
        rows = [(row.detector, row.ood_set) for row in self.results]
        if len(set(rows)) != len(rows) or not any(ood_set == MEAN for _, ood_set in rows):
            raise ValueError("rows are doubled or have no mean")
        return self


class _StoredRow(BaseModel):
    """One entry of `results`: for each metric its value, `_low` and `_high`, in 0..1."""

    detector: str
    ood_set: str
    metrics: dict[str, tuple[Share, Share, Share]]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, entry: Any) -> Any:
        if not isinstance(entry, dict):
            return entry
        bounds = {m: tuple(entry.get(m + end) for end in ("", "_low", "_high")) for m in METRICS}
        return {key: entry.get(key) for key in ("detector", "ood_set")} | {"metrics": bounds}

    def row(self) -> Row:
        return Row(
            self.detector,
            self.ood_set,
            {name: Interval(*bounds) for name, bounds in self.metrics.items()},
        )


def run_folder(run_id: str) -> Path:
    """The folder of a run; raises GscError for an id that could lead out of the workspace."""
    if not RUN_ID.fullmatch(run_id):
        raise GscError("A run is named by letters, digits, - and _ only: choose one from the list.")
    return home() / "runs" / run_id


def list_runs() -> tuple[str, ...]:
    """Ids of the runs that hold a result, the newest first."""
    found = [
        (file.stat().st_mtime_ns, file.parent.name)
        for file in (home() / "runs").glob(f"*/{METRICS_FILE}")
        if RUN_ID.fullmatch(file.parent.name)
    ]
    return tuple(run_id for _, run_id in sorted(found, reverse=True))


def finished_at(run_id: str) -> float:
    """When a run's result was written, in seconds since 1970; 0 when there is none."""
    file = run_folder(run_id) / METRICS_FILE
    return file.stat().st_mtime if file.is_file() else 0.0


def is_kept(run: StoredRun) -> bool:
    """Whether a run lies in the workspace: an audit may lie in a folder of its own."""
    return bool(RUN_ID.fullmatch(run.id)) and run.path.resolve() == run_folder(run.id).resolve()


def title(run_id: str) -> str:
    """What a person called the run, or its id."""
    job = queue.latest(run_id, Kind.AUDIT, Kind.DEMO)
    if job is not None:
        return job.title
    return DEMO_TITLE if run_id == DEMO_RUN else run_id  # by the command line, without a job


def version(path: Path) -> int:
    """A number that changes when the run's files are replaced: the key of every cache of it."""
    files = [path / name for name in (METRICS_FILE, SCORES_FILE)]
    found = [file.stat() for file in files if file.is_file()]
    return hash(tuple((each.st_mtime_ns, each.st_size) for each in found))


def load_run(path: Path) -> StoredRun:
    """Read a run's `metrics.json`. Raises GscError when there is none or it is damaged."""
    try:
        text = (path / METRICS_FILE).read_bytes()
    except OSError as error:
        raise GscError(
            f'There is no result for the run "{path.name}": choose another or run the audit.'
        ) from error
    try:
        stored = _Stored.model_validate_json(text)
    except ValidationError as error:
        raise GscError(
            f'The result of run "{path.name}" is damaged ({METRICS_FILE}): run the audit again.'
        ) from error
    rows = tuple(entry.row() for entry in stored.results)
    return StoredRun(
        id=path.name,
        path=path,
        rows=rows,
        detectors=tuple(dict.fromkeys(row.detector for row in rows)),
        ood_sets=tuple(dict.fromkeys(row.ood_set for row in rows if row.ood_set != MEAN)),
        id_accuracy=stored.id_accuracy,
        id_accuracy_after=stored.id_accuracy_after,
        images=stored.images,
        excused=stored.excused,
        inverted=stored.inverted,
        directions=stored.directions,
        in_sample=stored.in_sample,
        settings=stored.settings,
        provenance=stored.provenance,
    )


def subject(run: StoredRun) -> str:
    """What was audited, as far as the run tells."""
    classifier = run.settings.get("classifier")
    about = f"{classifier}, {run.settings.get('classes')} classes" if classifier else "a classifier"
    return f"Audit of {about}, run {run.id}"


def answer(run: StoredRun) -> str:
    """The result as one sentence of counts in 1,000 pictures, for a reader without training."""
    best = run.best()
    return (
        f"With the best detector here, {best.detector}, {in_1000(best.metrics['fpr95'].value)} of "
        "1,000 strangers would pass while 950 of 1,000 familiar pictures are let through."
    )


def assumption(run: StoredRun) -> str | None:
    """The warning when nobody said how the classifier wants its pictures; else None."""
    preprocessing = run.settings.get("preprocessing")
    if not isinstance(preprocessing, Mapping) or preprocessing.get("source") != "assumed":
        return None
    return (
        "How this classifier wants its pictures prepared was assumed, as is usual for ImageNet: if "
        "that is wrong, so are all figures here. Say what is right on the Models page."
    )


def doubt(run: StoredRun) -> str:
    """How sure the answer is and what it rests on: the interval, the hardest set, the images."""
    best = run.best()
    fpr = best.metrics["fpr95"]
    sets = [row for row in run.rows if row.detector == best.detector and row.ood_set != MEAN]
    hardest = max(sets, key=lambda row: row.metrics["fpr95"].value, default=best)
    text = "Measured on one set of strangers" if len(sets) == 1 else f"The mean of {len(sets)} sets"
    if {"id", *run.ood_sets} <= run.images.keys():
        strangers = sum(run.images[name].scored for name in run.ood_sets)
        text += f", with {run.images['id'].scored:,} familiar pictures and {strangers:,} strangers"
    text += (
        "; for other pictures of the same kinds expect "
        f"{between(fpr.low, fpr.high)} (95 % interval)."
    )
    if len(sets) > 1:
        passed = in_1000(hardest.metrics["fpr95"].value)
        text += f" Hardest: {hardest.ood_set}, {passed} of 1,000 would pass."
    if best.detector in run.inverted:
        text += " Every detector here points the wrong way on stand-ins: trust none of them yet."
    return text
