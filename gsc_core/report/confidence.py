"""The parts of the report about the confidence and about wrong answers that are accepted."""

import numpy as np

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.reliability import Curve
from gsc_core.report import model
from gsc_core.run.confidence import trust_of
from gsc_core.run.decisions import Decision
from gsc_core.run.document import Temperature
from gsc_core.run.gallery import class_name
from gsc_core.run.ood_halves import TooFewError
from gsc_core.run.reliability import errors_of, frontier_of
from gsc_core.run.stored import Run
from gsc_core.sentences.confidence import (
    HALVES,
    NO_FRONTIER,
    NO_HALVES,
    class_sentences,
    errors_sentence,
    trust_sentences,
    ways_sentence,
)

MAX_CLASSES = 10


def confidence_part(run: Run) -> model.Confidence | None:
    """What of the confidence is meant; None without labels."""
    trust = trust_of(run)
    if trust is None:
        return None
    calibration = trust.calibration
    return model.Confidence(
        sentences=trust_sentences(trust),
        class_sentences=class_sentences(run, trust),
        confidence=calibration.confidence,
        accuracy=_figure(calibration.accuracy),
        error=_figure(calibration.error),
        groups=tuple(
            model.ConfidenceGroup(
                images=group.images,
                right=group.right,
                confidence=group.confidence,
                accuracy=group.accuracy,
                low=group.low,
                high=group.high,
            )
            for group in calibration.groups
        ),
        scaled=None if trust.temperature is None else _scaled(trust.temperature),
        classes=tuple(
            model.ClassAccuracy(
                name=class_name(run, one.index),
                images=one.images,
                right=one.right,
                low=one.low,
                high=one.high,
                worse=one.worse,
            )
            for one in trust.classes[:MAX_CLASSES]
        ),
        classes_more=max(0, len(trust.classes) - MAX_CLASSES),
        untested=trust.untested,
    )


def errors_part(run: Run, decision: Decision) -> model.Errors | None:
    """What is wrong of the accepted; None without labels, and where nothing is accepted."""
    try:
        errors = errors_of(run, decision)
    except GscError:
        return None
    if errors is None:
        return None
    sentences = [errors_sentence(errors)]
    curves = {}
    try:
        frontier = frontier_of(run, decision.detector)
    except TooFewError:
        sentences.append(NO_HALVES)
    else:
        if frontier is None:
            sentences.append(NO_FRONTIER)
        else:
            sentences += [ways_sentence(errors, frontier), HALVES]
            ways = {
                "by_confidence": frontier.confidence,
                "by_detector": frontier.detector,
                "by_both": frontier.both,
            }
            curves = {name: _points(curve) for name, curve in ways.items()}
    return model.Errors(
        sentences=tuple(sentences),
        prevalence=errors.prevalence,
        accepted=errors.accepted,
        wrong=_figure(errors.wrong),
        mistakes=errors.mistakes,
        unfamiliar=errors.unfamiliar,
        **curves,
    )


def _scaled(temperature: Temperature) -> model.Scaled:
    return model.Scaled(
        temperature=temperature.value,
        fitted_on=temperature.fitted_on,
        tested=temperature.tested,
        error_before=_figure(temperature.error_before),
        error_after=_figure(temperature.error_after),
        log_loss_before=temperature.log_loss_before,
        log_loss_after=temperature.log_loss_after,
    )


def _points(curve: Curve) -> tuple[tuple[float, float], ...]:
    columns = (np.round(values, 4).tolist() for values in (curve.accepted, curve.wrong))
    return tuple(zip(*columns, strict=True))


def _figure(interval: Interval) -> model.Figure:
    return model.Figure(value=interval.value, low=interval.low, high=interval.high)
