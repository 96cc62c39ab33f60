"""The images of a run: sorted by a score, and each with its file and what was said of it.

An image is named by its row in `scores.parquet`, which a run keeps for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gsc_core.errors import GscError
from gsc_core.run.class_names import class_name
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run, RunKey

__all__ = ["RunImage", "class_name", "image_bytes", "image_path", "ordered", "run_images"]

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
    wanted = np.asarray(rows, dtype=np.intp)
    members = run.members()
    if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(members.codes):
        raise GscError(
            f"This run has images 0 to {len(members.codes) - 1:,}: choose one from the gallery."
        )
    files = run.files().take(pa.array(wanted)).to_pylist()
    label, predicted, confidence = (
        run.column(name)[wanted] for name in ("label", "predicted", "confidence")
    )
    images, places = [], _files(run)
    for i, row in enumerate(wanted):
        role, set_name = members.groups[members.codes[row]]
        image = RunImage(
            row=int(row),
            set=set_name,
            role=role,
            file=files[i],
            path=places.path(role, set_name, files[i]),
            label=int(label[i]) if label[i] >= 0 else None,
            predicted=int(predicted[i]),
            confidence=float(confidence[i]),
        )
        images.append(image)
    return tuple(images)


def ordered(
    run: Run,
    detector: str,
    *,
    sets: Sequence[str] | None = None,
    predicted: int | None = None,
    threshold: float | None = None,
    side: Side | None = None,
    descending: bool = True,
    named: str = "",
) -> Rows:
    """Row numbers sorted by a detector's outlier score, the least familiar first when `descending`.

    `sets` are names such as `"id"`, `"calibration"` or an OOD set's; None takes all but the
    calibration images. `predicted` keeps one class. With `threshold`, side `"inside"` keeps scores
    at or below it (let through) and `"outside"` those above. `named` is a part of the file's name,
    in letters of either case. Equal scores stay in row order.
    Raises GscError for an unknown detector or set.
    """
    asked = None if sets is None else tuple(sets)
    return _ordered(run.key, detector, asked, predicted, threshold, side, descending, named)


@lru_cache(maxsize=4)  # a page asks for the same at each of its runs; millions take seconds
def _ordered(
    key: RunKey,
    detector: str,
    sets: tuple[str, ...] | None,
    predicted: int | None,
    threshold: float | None,
    side: Side | None,
    descending: bool,
    named: str,
) -> Rows:
    run = key.run
    rows = run.rows_of(sets)
    values = run.column(detector)
    if predicted is not None:
        rows = rows[run.column("predicted")[rows] == predicted]
    if threshold is not None and side is not None:
        # Scores are float32: a plain float would be rounded to that before it is compared.
        rows = rows[(values[rows] <= np.float64(threshold)) == (side == "inside")]
    if named:
        hits = pc.match_substring(run.files(), named, ignore_case=True)
        rows = rows[np.asarray(hits.to_numpy(), dtype=np.bool_)[rows]]
    scores = values[rows]
    order: Rows = rows[np.argsort(-scores if descending else scores, kind="stable")]
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
