"""Count what `summary` stores of a run: what its pages ask when they are opened first."""

from __future__ import annotations

from collections.abc import Iterator

from gsc_core.log import Step
from gsc_core.run import decisions, picking, winners
from gsc_core.run.confidence import trust_of
from gsc_core.run.gallery import EVERY, first_rows, in_order
from gsc_core.run.mistakes import false_alarms_at, missed_at, nearest_to
from gsc_core.run.placement import percentiles, predicted_classes
from gsc_core.run.reliability import PREVALENCE, errors_at, frontier_of
from gsc_core.run.score_shapes import shapes_of, tradeoff_of
from gsc_core.run.stored import Run
from gsc_core.run.summary import Question, Summary

SHOWN_FIRST = "fpr95"
"""The metric that a results page opens with; a paired test of AUROCs takes ten times longer."""
ON_A_PAGE = 48
"""Images that the gallery opens with."""


def summarised(run: Run, step: Step = lambda *_: None) -> Summary:
    """What pages show of all scores of a run that has no summary yet; `step` may raise to stop."""
    return Summary.counted(run, questions_of(run), step)


def questions_of(run: Run) -> Iterator[Question]:
    """What pages ask of a run as nobody has decided about it yet."""
    usual = decisions.default(run)
    detector, value = usual.detector, usual.value
    yield decisions.effect_at.about(detector, value, "all")
    yield decisions.selective_at.about(detector, value)
    for wanted in (missed_at(run, value), false_alarms_at(value), EVERY, *nearest_to(value)):
        yield first_rows.about(detector, wanted)
    first = in_order(run, detector)[:ON_A_PAGE]
    yield percentiles.about(detector, tuple(first.tolist()))
    yield predicted_classes.about()
    yield tradeoff_of.about(detector)
    yield shapes_of.about(detector)
    yield trust_of.about()
    yield errors_at.about(detector, value, "all", None, PREVALENCE)
    yield frontier_of.about(detector)
    yield picking.candidates.about()
    yield from winners.questions_of(run, SHOWN_FIRST)
    if (best := run.best().detector) != detector:
        yield picking.compared.about(best, detector)
    yield from (of.about(name) for name in run.detectors for of in (tradeoff_of, shapes_of))
