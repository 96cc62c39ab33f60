"""Images that two detectors judge differently, when both keep the same share of ID images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.thresholds import keep_id
from gsc_core.run import decisions
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run

MOST = 12


@dataclass(frozen=True)
class Disagreement:
    """Test images that one detector flags and the other accepts.

    ood: whether they are OOD images, so that flagging is right, or ID, so that it is wrong.
    rows: row numbers of the most telling, in order of how far apart the two place them.
    count, of: how many there are, and how many images of that kind were judged.
    """

    ood: bool
    flagged_by: str
    accepted_by: str
    rows: tuple[int, ...]
    count: int
    of: int


def disagreements(run: Run, one: str, other: str) -> tuple[Disagreement, ...]:
    """Unfamiliar images that only `one` and only `other` flags, then familiar images likewise.

    Each detector's threshold is set on calibration images (`keep_id`). How far two detectors are
    apart on an image is told in the shares of calibration images that score below it, as scores
    have no common scale. Raises GscError when scores or calibration are missing.
    """
    first, second = _flags(run, one), _flags(run, other)
    kinds = {True: run.rows_of(run.ood_sets), False: run.rows_of(["id"])}
    return tuple(
        _of_kind(run, ood, rows[flagged[rows] & ~accepted[rows]], len(rows), by)
        for ood, rows in kinds.items()
        for flagged, accepted, by in (
            (first, second, (one, other)),
            (second, first, (other, one)),
        )
    )


def _flags(run: Run, detector: str) -> NDArray[np.bool_]:
    threshold = np.float64(keep_id(run.calibration_scores(detector), decisions.KEEP))
    return np.asarray(run.column(detector) > threshold)


def _of_kind(run: Run, ood: bool, rows: Rows, of: int, by: tuple[str, str]) -> Disagreement:
    flagged_by, accepted_by = by
    gap = _standing(run, flagged_by, rows) - _standing(run, accepted_by, rows)
    telling = rows[np.argsort(-gap, kind="stable")[:MOST]]
    shown = tuple(int(row) for row in telling)
    return Disagreement(ood, flagged_by, accepted_by, shown, len(rows), of)


def _standing(run: Run, detector: str, rows: Rows) -> Floats:
    """Share of calibration images that score below each image, 0..1."""
    calibration = np.sort(run.calibration_scores(detector))
    below = np.searchsorted(calibration, run.column(detector)[rows].astype(np.float64))
    return below / len(calibration)
