"""Picking a detector after the audit: one half of each OOD set is to choose by, the other judges.

The best of many detectors on some images is partly the luckiest on them. So what a person (or a
policy's "best") chooses by is counted on one half and on the calibration images, and what was
chosen is judged on the other half and on the ID test images: no image does both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from gsc_core.evaluation.intervals import MEAN, Interval, Intervals, evaluate
from gsc_core.evaluation.metrics import METRICS, Floats, metrics
from gsc_core.evaluation.paired import Tested, against
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.layout import ID
from gsc_core.run.ood_halves import halves, scores_of
from gsc_core.run.stored import Run, RunKey, ScoresOf
from gsc_core.run.summary import remembered


@dataclass(frozen=True)
class Candidate:
    """A detector on the images to choose by: each metric, 0 to 1, by OOD set and of their `"mean"`.

    inverted: OOD images of this half, or surrogate outliers, score lower than calibration images.
    """

    detector: str
    by_set: Mapping[str, Mapping[str, float]]
    inverted: bool

    @property
    def rank(self) -> tuple[bool, float, float, str]:
        """The lowest FPR95 comes first, then the highest AUROC; inverted ones are last."""
        mean = self.by_set[MEAN]
        return self.inverted, mean["fpr95"], -mean["auroc"], self.detector


@dataclass(frozen=True)
class Favourite:
    """The detector that does best on the images at hand, beside the one that decides by default.

    test: of its mean FPR95 against the default's on the same images, corrected for all `others`
        that were compared with the default.
    """

    detector: str
    usual: str
    test: Tested
    others: int


@remembered
def candidates(run: Run) -> tuple[Candidate, ...]:
    """Every detector on the images to choose by, the best first.

    Raises GscError when the scores are damaged and when a set is too small for halves.
    """
    return _candidates(run.key)


def judged(run: Run, detector: str) -> Intervals:
    """A detector's metrics with intervals on the half that nothing was chosen by.

    Raises GscError as `candidates` does.
    """
    return _judged(run.key, detector)


def favourite(run: Run) -> Favourite | None:
    """The detector that does best on the very images that show it; None where it decides anyway.

    Raises GscError when the scores are missing or damaged.
    """
    best, usual = run.best().detector, decisions.default_detector(run)
    if best == usual:
        return None
    return compared(run, best, usual)


@remembered
def compared(run: Run, best: str, usual: str) -> Favourite:
    """A detector that does best against the usual one, on all test images.

    Raises GscError when the scores are missing or damaged.
    """
    return _compared(run.key, best, usual)


def metrics_of(run: Run, decision: Decision) -> Mapping[str, Mapping[str, Interval]]:
    """The metrics of a decision's detector, by OOD set and of their `"mean"`.

    As the audit stored them; of a picked detector on the half that it was not picked by. Raises
    GscError as `candidates` does.
    """
    if decision.picked:
        return judged(run, decision.detector)
    return {row.ood_set: row.metrics for row in run.rows if row.detector == decision.detector}


def is_inverted(run: Run, detector: str, auroc: float) -> bool:
    """Whether a detector points the wrong way, by this AUROC or by that on surrogate outliers."""
    return min(auroc, run.document.surrogate_auroc.get(detector, 1.0)) < 0.5


@lru_cache(maxsize=16)
def _candidates(key: RunKey) -> tuple[Candidate, ...]:
    run = key.run
    setting = halves(run).setting
    compared = []
    for detector in run.detectors:
        familiar = run.calibration_scores(detector)
        by_set = _measured(familiar, scores_of(run, detector, setting))
        inverted = is_inverted(run, detector, by_set[MEAN]["auroc"])
        compared.append(Candidate(detector, by_set, inverted))
    return tuple(sorted(compared, key=lambda candidate: candidate.rank))


def _measured(id_scores: Floats, ood: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    by_set = {name: metrics(id_scores, scores) for name, scores in ood.items()}
    values = {
        name: {metric: float(getattr(of_set, metric)) for metric in METRICS}
        for name, of_set in by_set.items()
    }
    mean = {m: sum(value[m] for value in values.values()) / len(values) for m in METRICS}
    return values | {MEAN: mean}


@lru_cache(maxsize=64)
def _compared(key: RunKey, best: str, usual: str) -> Favourite:
    run = key.run
    test = against(ScoresOf(run, run.detectors), usual, "fpr95")[best]
    return Favourite(best, usual, test, len(run.detectors) - 1)


@lru_cache(maxsize=64)
def _judged(key: RunKey, detector: str) -> Intervals:
    scores = decisions.tested_scores(key.run, detector, "judging")
    return evaluate(scores.pop(ID), scores)
