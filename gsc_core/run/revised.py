"""A run without some of its images, and with some labels corrected: every figure counted again.

Nothing is scored again. Scores, what the detectors learned and which one decides are as audited;
metrics, counts, accuracies and the threshold come from the stored scores of the images that are
left, by the functions that measured the audit. So each page and report of a run shows either. Of a
large run the intervals of average precision and of the detection error rest on fewer draws, since
as many as the audit took would be minutes; the figures themselves are exact.

Images are left out by people who saw what the audit says of them, which makes the figures better
than those of new images would be: they are shown beside those of the audit, never instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from gsc_core.errors import GscError
from gsc_core.evaluation.bootstrap import CELLS
from gsc_core.evaluation.intervals import MEAN
from gsc_core.run import decisions, score_table
from gsc_core.run.confidence import labelled_rows
from gsc_core.run.document import ImageCounts, NamedDecision, RunDocument, Temperature
from gsc_core.run.layout import CALIBRATION, ID, LABEL, PREDICTED_AFTER, TEMPERED_COLUMNS
from gsc_core.run.marks import by_row, revision_of
from gsc_core.run.results import results_of
from gsc_core.run.stored import Revision, Run, RunKey, version_of
from gsc_core.run.temperature import READ_COLUMNS, temperature_record

REPEATS = 1000  # of a run that does not say how often it drew
MAX_DRAWS = 50_000_000  # ranks weighed for all detectors, sets and repeats: some three seconds
FEW_REPEATS = 100  # where they would be more: a bound then varies by a seventh of its distance


class NothingLeftError(GscError):
    """All images of a kind are left out."""


def without_marked(run: Run) -> Run | None:
    """The run as its marks revise it; None where they change no figure.

    Raises GscError as `marks.marks_of` and `revised` do.
    """
    revision = revision_of(by_row(run))
    return revised(run, revision) if revision else None


def revised(run: Run, revision: Revision) -> Run:
    """The run without the rows of a revision, and with its labels.

    Raises NothingLeftError when no familiar, calibration or unfamiliar image is left, and GscError
    for damaged scores.
    """
    return _revised(replace(run, revision=None).key, revision)


@lru_cache(maxsize=8)
def _revised(key: RunKey, revision: Revision) -> Run:
    audited, run = key.run, replace(key.run, revision=revision)
    _ensure_images_are_left(audited, run)
    document = audited.document.model_copy(update=dict(_counted(audited, run)))
    run = replace(run, document=document)
    return replace(run, document=document.model_copy(update={"decision": _decision(run)}))


def _ensure_images_are_left(audited: Run, run: Run) -> None:
    before, left = audited.members().by_name, run.members().by_name
    words = {ID: "familiar image", CALIBRATION: "calibration image"}
    gone = [word for name, word in words.items() if name in before and name not in left]
    if not any(name in left for name in audited.ood_sets):
        gone.append("unfamiliar image")
    if gone:
        raise NothingLeftError(
            f"Every {gone[0]} is marked, so nothing is left to be counted: take some marks back."
        )


def _counted(audited: Run, run: Run) -> Iterator[tuple[str, Any]]:
    """The parts of the document that depend on which images there are, and on their labels."""
    before, rows = audited.document, run.members().by_name
    ood = [name for name in audited.ood_sets if name in rows]
    repeats = _repeats(before, [len(rows[name]) for name in (ID, *ood)])
    results = tuple(
        result
        for name in audited.detectors
        for result in results_of(
            name,
            {of: run.column(name)[rows[of]] for of in (ID, *ood)},
            repeats,
            before.provenance.seed or 0,
        )
    )
    yield "results", results
    auroc = {row.detector: row.metrics["auroc"].value for row in results if row.ood_set == MEAN}
    on_surrogates = before.surrogate_auroc
    yield "inverted", tuple(n for n, a in auroc.items() if min(a, on_surrogates.get(n, 1)) < 0.5)
    yield "id_accuracy", _accuracy(run, "predicted")
    columns = score_table.column_names(run.path, version_of(run.path))
    after = {
        name: _accuracy(run, PREDICTED_AFTER + name)
        for name in before.id_accuracy_after
        if PREDICTED_AFTER + name in columns
    }
    yield "id_accuracy_after", {name: share for name, share in after.items() if share is not None}
    yield "images", {name: _counts(run, name, images) for name, images in run.images.items()}
    yield "temperature", _temperature(run, before)


def _repeats(before: RunDocument, sizes: Sequence[int]) -> int:
    """How often the audit drew, or less often where somebody would wait too long for it."""
    repeats = int(before.settings.recorded().get("repeats", REPEATS))
    ranks = sum(min(CELLS, sizes[0] + size) for size in sizes[1:])
    detectors = len({row.detector for row in before.results})
    fits = ranks * detectors * repeats <= MAX_DRAWS
    return repeats if fits else min(repeats, FEW_REPEATS)


def _accuracy(run: Run, column: str) -> float | None:
    rows = labelled_rows(run, ID)
    if not len(rows):
        return None
    return float(np.mean(run.column(column)[rows] == run.column(LABEL)[rows]))


def _counts(run: Run, name: str, before: ImageCounts) -> ImageCounts:
    """What was left out before the audit stays as it was counted."""
    rows = run.members().by_name.get(name, np.empty(0, dtype=np.intp))
    unknown = run.column(LABEL)[rows] < 0
    without = int(np.count_nonzero(unknown)) if name in (ID, CALIBRATION) else 0
    return before.model_copy(update={"scored": len(rows), "without_class": without})


def _temperature(run: Run, before: RunDocument) -> Temperature | None:
    """Of the test images that are left; those with another label now have no log loss by it."""
    columns = score_table.column_names(run.path, version_of(run.path))
    if before.temperature is None or not columns.issuperset(READ_COLUMNS):
        return None
    rows = run.rows_of([name for name in (ID, CALIBRATION) if name in run.members().by_name])
    table = score_table.rows_of(run.path, rows, READ_COLUMNS)
    assert run.revision is not None
    corrected = np.isin(rows, [row for row, _ in run.revision.labels])
    table = table.set_column(
        table.column_names.index(LABEL), LABEL, pa.array(run.column(LABEL)[rows])
    )
    for name in TEMPERED_COLUMNS:
        values = np.asarray(table[name].to_numpy())
        unknown = pa.array(values, mask=corrected | np.isnan(values))
        table = table.set_column(table.column_names.index(name), name, unknown)
    return temperature_record(table, before.temperature.value)


def _decision(run: Run) -> NamedDecision | None:
    """Its detector and rule were named beforehand; the threshold is set on what is left."""
    named = run.document.decision
    if named is None:
        return None
    again = decisions.decide(run, named.detector, named.rule)
    return named.model_copy(update={"value": again.value if np.isfinite(again.value) else None})
