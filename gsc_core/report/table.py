"""Scores of a run as a CSV table that a spreadsheet can open without running anything."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from gsc_core.run import gallery
from gsc_core.run.marks import by_row
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from gsc_core.sentences.csv_safety import harmless

_BOM = b"\xef\xbb\xbf"  # by which Excel knows UTF-8


def scores_csv(run: Run, *, files: bool = True, rows: Sequence[int] | None = None) -> bytes:
    """One row an image: set, role, file, class names, confidence and each detector's score.

    `files` False leaves the file names out, `rows` None takes all images. Where images are marked,
    two columns say how. UTF-8 with a byte order mark. Text that a spreadsheet would take for a
    formula begins with an apostrophe. Raises GscError when the scores are missing or damaged.
    """
    members = run.members()
    wanted = np.arange(len(members.codes)) if rows is None else np.asarray(rows, dtype=np.intp)
    codes = pa.array(members.codes[wanted])
    roles, sets = (pa.array(part) for part in zip(*members.groups, strict=True))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "set": harmless(sets).take(codes),
        "role": harmless(roles).take(codes),
        **({"file": harmless(run.files().take(pa.array(wanted)))} if files else {}),
        "label": _class_names(run, run.column("label")[wanted]),
        "predicted": _class_names(run, run.column("predicted")[wanted]),
        **dict(_marks(run, wanted)),
        "confidence": pa.array(run.column("confidence")[wanted]),
    }
    for detector in run.detectors:
        columns[detector] = pa.array(run.column(detector)[wanted])
    names = harmless(pa.array(list(columns))).to_pylist()
    file = io.BytesIO()
    pa_csv.write_csv(pa.table(list(columns.values()), names=names), file)
    return _BOM + file.getvalue()


def _class_names(run: Run, classes: NDArray[Any]) -> pa.Array:
    """Class indices as names; unknown ones stay empty."""
    indices = pa.array(classes)
    known = pc.unique(indices).to_pylist()
    names = pa.array(["" if i < 0 else gallery.class_name(run, i) for i in known], pa.string())
    return harmless(names).take(pc.index_in(indices, pa.array(known, indices.type)))


def _marks(run: Run, rows: Rows) -> Iterator[tuple[str, pa.Array]]:
    """Why an image is left out of the figures by the marks, and its corrected label."""
    marks = by_row(run)
    if not marks:
        return
    of_rows = [marks.get(row) for row in rows.tolist()]
    yield "mark", pa.array(["" if m is None else str(m.doubt or "") for m in of_rows])
    labels = np.array([-1 if m is None or m.label is None else m.label for m in of_rows])
    yield "corrected label", _class_names(run, labels)
