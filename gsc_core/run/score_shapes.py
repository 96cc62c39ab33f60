"""A detector's scores reduced to what charts draw of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from gsc_core.evaluation.histogram import Histograms
from gsc_core.evaluation.metrics import Curve, curve, rising
from gsc_core.evaluation.tradeoff import Tradeoff
from gsc_core.run import decisions
from gsc_core.run.decisions import Part
from gsc_core.run.layout import ID
from gsc_core.run.stored import Run
from gsc_core.run.summary import remembered

MAX_SETS = 12
"""OOD sets that are drawn beside each other, at most: the first of a run."""


@dataclass(frozen=True)
class ScoreShapes:
    """The histograms of ID and OOD sets, and the curves of each OOD set."""

    histograms: Histograms
    curves: Mapping[str, Curve]


@remembered
def shapes_of(run: Run, detector: str) -> ScoreShapes:
    """Of all test images. Raises GscError when the scores are missing or damaged."""
    scores = run.scores(detector)
    shown = {name: rising(scores[name]) for name in (ID, *run.ood_sets[:MAX_SETS])}  # sorted once
    curves = {name: curve(shown[ID], shown[name]) for name in shown if name != ID}
    return ScoreShapes(Histograms.of(shown), curves)


@remembered
def tradeoff_of(
    run: Run, detector: str, part: Part = "all", ood_set: str | None = None
) -> Tradeoff:
    """What thresholds do to ID images and a part of one OOD set or of all.

    Raises GscError as `decisions.tested_scores` does.
    """
    scores = decisions.tested_scores(run, detector, part)
    familiar = scores.pop(ID)
    return Tradeoff.of(familiar, scores if ood_set is None else {ood_set: scores[ood_set]})
