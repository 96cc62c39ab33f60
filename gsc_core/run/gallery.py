"""The pictures of a run: sorted by a score, and each with its file and what was said of it.

A picture is named by its row in `scores.parquet`, which a run keeps for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pyarrow as pa

from gsc_core.errors import GscError
from gsc_core.run.layout import unpacked_folder
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run

Side = Literal["inside", "outside"]


@dataclass(frozen=True)
class RunPicture:
    """One picture of a run. `set` is `"id"`, `"calibration"` or the name of an OOD set.

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


def pictures(run: Run, rows: Sequence[int] | Rows) -> tuple[RunPicture, ...]:
    """The pictures of these rows, in their order; raises GscError for a row that is not there."""
    wanted = np.asarray(rows, dtype=np.intp)
    members = run.members()
    if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(members.codes):
        raise GscError(
            f"This run has pictures 0 to {len(members.codes) - 1:,}: choose one from the gallery."
        )
    files = run.files().take(pa.array(wanted)).to_pylist()
    label, predicted, confidence = (
        run.column(name)[wanted] for name in ("label", "predicted", "confidence")
    )
    found = []
    for i, row in enumerate(wanted):
        role, set_name = members.groups[members.codes[row]]
        one = RunPicture(
            row=int(row),
            set=set_name,
            role=role,
            file=files[i],
            path=_place(run, role, set_name, files[i]),
            label=int(label[i]) if label[i] >= 0 else None,
            predicted=int(predicted[i]),
            confidence=float(confidence[i]),
        )
        found.append(one)
    return tuple(found)


def ordered(
    run: Run,
    detector: str,
    *,
    sets: Sequence[str] | None = None,
    predicted: int | None = None,
    threshold: float | None = None,
    side: Side | None = None,
    descending: bool = True,
) -> Rows:
    """Row numbers sorted by a detector's outlier score, the strangest first when `descending`.

    `sets` are names such as `"id"`, `"calibration"` or an OOD set's; None takes all but the
    calibration images. `predicted` keeps one class. With `threshold`, side `"inside"` keeps scores
    at or below it (let through) and `"outside"` those above. Equal scores stay in row order.
    Raises GscError for an unknown detector or set.
    """
    rows = run.rows_of(sets)
    values = run.column(detector)
    if predicted is not None:
        rows = rows[run.column("predicted")[rows] == predicted]
    if threshold is not None and side is not None:
        # Scores are float32: a plain float would be rounded to that before it is compared.
        rows = rows[(values[rows] <= np.float64(threshold)) == (side == "inside")]
    scores = values[rows]
    order: Rows = rows[np.argsort(-scores if descending else scores, kind="stable")]
    return order


def picture_path(run: Run, role: str, set_name: str, file: str) -> Path:
    """The file of a picture; raises GscError when it is gone or its name leads elsewhere."""
    path = _place(run, role, set_name, file)
    if not path.is_file():
        raise GscError(
            f"The picture {file} is no longer where it was audited: put its folder back, or run "
            "the audit again."
        )
    return path


def class_name(run: Run, index: int | None) -> str:
    """A class in words: its name, else its number; `unknown` for None and −1."""
    if index is None or index < 0:
        return "unknown"
    names = run.settings.class_names or ()
    if index < len(names):
        return names[index]
    return f"class {index}"


def _place(run: Run, role: str, set_name: str, file: str) -> Path:
    """Where a picture lies below its set's root; a link to a picture is a picture, as in reading.

    Names come from a file that a person may have edited: none leads out of the root.
    """
    root = _root(run, role, set_name)
    name = PurePosixPath(file)
    path = root / name
    leads_out = name.is_absolute() or ".." in name.parts or "\0" in file
    if leads_out or not path.parent.resolve().is_relative_to(root.resolve()):
        raise GscError(f'The run "{run.id}" names a picture outside its folders: run it again.')
    return path


def _root(run: Run, role: str, set_name: str) -> Path:
    """The folder that a set was read from: its own, that of a single picture, or the unpacked."""
    source, name = _source(run, role, set_name), set_name
    if role != "ood":
        # Calibration images that were set apart lie among the ID images.
        name = role if role == "id" or isinstance(run.settings.calibration, str) else "id"
    unpacked = unpacked_folder(run.path, name)
    if source is None or unpacked.is_dir():
        return unpacked
    return source if source.is_dir() or not source.is_file() else source.parent


def _source(run: Run, role: str, set_name: str) -> Path | None:
    settings = run.settings
    found = settings.ood.get(set_name) if role == "ood" else settings.id
    if role == "calibration" and isinstance(settings.calibration, str):
        found = settings.calibration
    return None if found is None else Path(found)
