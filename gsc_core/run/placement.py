"""Where scores of images lie among the run's, by the thresholds that hold now."""

from functools import lru_cache

import numpy as np
from pydantic import BaseModel, ConfigDict

from gsc_core.evaluation.counts import percentile
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.thresholds import KeepId, keep_id
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import run_images
from gsc_core.run.layout import ID
from gsc_core.run.stored import Run, RunKey
from gsc_core.run.summary import remembered


class Placement(BaseModel):
    """Where one detector's score lies among the familiar images that the audit tested on.

    `percentile` is the share of those, 0 to 100, that score at most as high: 99 is less familiar
    than nearly all of them. `threshold` keeps 95 % of the calibration images, None when they are
    too few for that; the deciding detector has the run's own.
    """

    model_config = ConfigDict(frozen=True)

    detector: str
    score: float
    percentile: float
    threshold: float | None

    @property
    def outside(self) -> bool:
        """Whether this detector flags the image."""
        return self.threshold is not None and self.score > self.threshold

    @property
    def share_below(self) -> str:
        """The percentile in words."""
        return percentile(self.percentile)


def decision_for(run: Run, detector: str) -> Decision:
    """The run's stored decision where it is about this detector, else what keeps 95 % of ID."""
    standing = decisions.standing(run)
    if standing is not None and standing.detector == detector:
        return standing
    return decisions.decide(run, detector, KeepId(share=decisions.KEEP))


def places_of(run: Run, row: int) -> tuple[Placement, ...]:
    """Where the scores of an image of the run lie, the alarming detector's first, then the best.

    Raises GscError for a row that is not there.
    """
    run_images(run, [row])
    decision = decisions.current(run)
    places = (place(run, name, float(run.column(name)[row])) for name in in_order(run))
    return tuple(decided(placement, decision) for placement in places)


def in_order(run: Run) -> list[str]:
    """The detectors: the one that raises the alarm, then the others, the best first."""
    alarm = decisions.current(run).detector
    return sorted(run.ranked(), key=lambda name: name != alarm)


@remembered
def predicted_classes(run: Run) -> tuple[int, ...]:
    """The classes that some image of the run was taken for, rising."""
    return _predicted(run.key)


@lru_cache(maxsize=16)
def _predicted(key: RunKey) -> tuple[int, ...]:
    values = np.unique(key.run.column("predicted"))
    return tuple(int(value) for value in values if value >= 0)


def place(run: Run, detector: str, score: float) -> Placement:
    """Where a score lies, with the threshold that holds until somebody decides."""
    familiar = run.scores(detector)["id"]
    threshold = keep_id(run.calibration_scores(detector), decisions.KEEP)
    return Placement(
        detector=detector,
        score=score,
        percentile=float(100 * np.mean(familiar <= score)),
        threshold=_finite(threshold),
    )


@remembered
def percentiles(run: Run, detector: str, rows: tuple[int, ...]) -> Floats:
    """The `Placement.percentile` of each of these images `[N]`, 0 to 100."""
    familiar = np.sort(run.scores(detector)[ID])
    scores = run.column(detector)[list(rows)].astype(np.float64)
    return np.asarray(100 * np.searchsorted(familiar, scores, side="right") / len(familiar))


def decided(placed: Placement, decision: Decision) -> Placement:
    """The same place by a decision, where that is about its detector."""
    if placed.detector != decision.detector:
        return placed
    return placed.model_copy(update={"threshold": _finite(decision.value)})


def _finite(threshold: float) -> float | None:
    return threshold if np.isfinite(threshold) else None
