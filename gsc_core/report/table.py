"""All scores of a run as a CSV table that a spreadsheet can open without running anything."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gsc_core.run import gallery
from gsc_core.run.stored import Run
from gsc_core.sentences.csv_safety import harmless

_BOM = b"\xef\xbb\xbf"  # by which Excel knows UTF-8


def scores_csv(run: Run, *, files: bool = True) -> bytes:
    """One row an image: set, role, file, class names, confidence and each detector's score.

    `files` False leaves the file names out. UTF-8 with a byte order mark. Text that a spreadsheet
    would take for a formula begins with an apostrophe. Raises GscError when the scores are missing
    or damaged.
    """
    members = run.members()
    codes = pa.array(members.codes)
    roles, sets = (pa.array(part) for part in zip(*members.groups, strict=True))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "set": harmless(sets).take(codes),
        "role": harmless(roles).take(codes),
        **({"file": harmless(run.files())} if files else {}),
        "label": _class_names(run, "label"),
        "predicted": _class_names(run, "predicted"),
        "confidence": pa.array(run.column("confidence")),
    }
    for detector in run.detectors:
        columns[detector] = pa.array(run.column(detector))
    names = harmless(pa.array(list(columns))).to_pylist()
    file = io.BytesIO()
    pa_csv.write_csv(pa.table(list(columns.values()), names=names), file)
    return _BOM + file.getvalue()


def _class_names(run: Run, column: str) -> pa.Array:
    """Class indices as names; unknown ones stay empty."""
    indices = pa.array(run.column(column))
    known = pc.unique(indices).to_pylist()
    names = pa.array(["" if i < 0 else gallery.class_name(run, i) for i in known], pa.string())
    return harmless(names).take(pc.index_in(indices, pa.array(known, indices.type)))
