"""What a policy can limit: one entry a figure, with how it is read from a run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.auroc import surest
from gsc_core.evaluation.class_accuracy import worst_accuracy
from gsc_core.evaluation.effects import LEVEL, Acceptance, Effect, counted
from gsc_core.evaluation.interval import MEAN, Interval, at_least
from gsc_core.release import intervals
from gsc_core.run import decisions, picking
from gsc_core.run.confidence import calibration_error, labelled_rows
from gsc_core.run.decisions import Decision
from gsc_core.run.layout import ID, PREDICTED_AFTER
from gsc_core.run.ood_halves import halves
from gsc_core.run.reliability import PREVALENCE, errors_of
from gsc_core.run.stored import Run

NO_LABELS = "The familiar images have no labels: run the audit with labels."


class AbsentError(Exception):
    """The run does not have the figure; the message is the reason, a sentence."""


@dataclass(frozen=True)
class Case:
    """A run, and the decision that sets its threshold; what that does is counted once."""

    run: Run
    decision: Decision

    @cached_property
    def effect(self) -> Effect:
        """What passes at the threshold."""
        return decisions.effect_of(self.run, self.decision)


@dataclass(frozen=True)
class Asked:
    """Of which detector and OOD set (or `"mean"`) of a run a figure is asked for.

    half: the detector was picked by one half of each OOD set, so that the other judges it.
    prevalence: the share of OOD images where the figure is of a mix of both.
    """

    case: Case
    detector: str
    ood_set: str
    half: bool = False
    prevalence: float = PREVALENCE

    @property
    def run(self) -> Run:
        """The run that is judged."""
        return self.case.run


class Unit(Enum):
    """What the number of a limit is."""

    SHARE = "a share"
    COUNT = "a number of images"
    FLAG = "yes or no"


class Of(Enum):
    """What a figure is about, besides the run."""

    RUN = "the run"
    DETECTOR = "a detector"
    THRESHOLD = "the run's threshold, and so its detector"


class Sets(Enum):
    """Whether there is one figure for each OOD set, and what a rule without `set` means."""

    NONE = None
    MEAN = "mean"
    PER_SET = "each"  # a number of images has no use for a mean


@dataclass(frozen=True)
class Metric:
    """A figure that a policy can limit; `measure` raises AbsentError."""

    name: str
    words: str
    measure: Callable[[Asked], Interval]
    unit: Unit = Unit.SHARE
    low_is_good: bool = True
    of: Of = Of.RUN
    sets: Sets = Sets.NONE
    mixed: bool = False  # of ID and OOD images together, so a rule may say how many are OOD


def _audited(name: str) -> Callable[[Asked], Interval]:
    """A figure that the audit has stored with its interval; of one half it is measured now."""

    def measure(asked: Asked) -> Interval:
        if asked.half:
            return picking.judged(asked.run, asked.detector)[asked.ood_set][name]
        row = asked.run.row(asked.detector, asked.ood_set)
        interval = None if row is None else row.metric(name)
        if interval is None:
            raise AbsentError("The run has no such figure: run the audit again.")
        return interval

    return measure


def _auroc(asked: Asked) -> Interval:
    """As the audit stored it; one from before 2027 has no width where all images are separated."""
    rows = asked.run.members().by_name
    if asked.half:
        rows = rows | dict(halves(asked.run).testing)
    sets = asked.run.ood_sets if asked.ood_set == MEAN else (asked.ood_set,)
    id_images, *ood_images = (len(rows.get(name, ())) for name in ("id", *sets))
    stored, most = _audited("auroc")(asked), surest(id_images, ood_images, LEVEL)
    return at_least(stored, below=max(0.0, stored.value - most), above=0.0)


def _ood_accepted(asked: Asked) -> Interval:
    sets = asked.case.effect.ood
    if asked.ood_set == MEAN:
        return intervals.mean_share(tuple(sets.values()))
    return _interval(sets[asked.ood_set])


def _id_accepted(asked: Asked) -> Interval:
    return _interval(asked.case.effect.id)


def _interval(acceptance: Acceptance) -> Interval:
    return Interval(acceptance.share, acceptance.low, acceptance.high)


def _id_accuracy(asked: Asked) -> Interval:
    right = _right(asked.run, "predicted")
    return _interval(counted(int(right.sum()), len(right)))


def _accuracy_loss(asked: Asked) -> Interval:
    run, detector = asked.run, asked.detector
    before = _right(run, "predicted")
    if detector in run.id_accuracy_after:
        return intervals.lost(before, _right(run, PREDICTED_AFTER + detector))
    if detector in run.directions:  # a short-circuit, so answers may have changed
        raise AbsentError(
            f"What {detector} does to the answers was not stored: run the audit again."
        )
    return _certain(0)  # it leaves the answers as they are


def _accuracy_passing(asked: Asked) -> Interval:
    _right(asked.run, "predicted")  # there are labels
    selective = decisions.selective_of(asked.run, asked.case.decision)
    if selective is None:
        raise AbsentError("No labelled familiar image is accepted: choose a higher threshold.")
    return Interval(selective.passing, selective.low, selective.high)


def _ece(asked: Asked) -> Interval:
    error = calibration_error(asked.run)
    if error is None:
        raise AbsentError(NO_LABELS)
    return error


def _worst_class_accuracy(asked: Asked) -> Interval:
    run = asked.run
    rows = labelled_rows(run, ID)
    if not len(rows):
        raise AbsentError(NO_LABELS)
    return worst_accuracy(run.column("label")[rows], run.column("predicted")[rows])


def _accepted_errors(asked: Asked) -> Interval:
    ood_set = None if asked.ood_set == MEAN else asked.ood_set
    try:
        errors = errors_of(asked.run, asked.case.decision, ood_set, asked.prevalence)
    except GscError as reason:
        raise AbsentError(str(reason)) from reason
    if errors is None:
        raise AbsentError(NO_LABELS)
    return errors.wrong


def _right(run: Run, column: str) -> NDArray[np.bool_]:
    """Whether each labelled ID image is classified correctly by a column of predictions."""
    id_rows = run.rows_of(["id"])
    labelled = id_rows[run.column("label")[id_rows] >= 0]
    if not len(labelled):
        raise AbsentError(NO_LABELS)
    return np.asarray(run.column(column)[labelled] == run.column("label")[labelled])


def _images(role: str | None = None) -> Callable[[Asked], Interval]:
    """How many images were tested, of a role or else of the OOD set that is asked for."""

    def measure(asked: Asked) -> Interval:
        if role is None and asked.case.decision.spares_half:
            return _certain(len(halves(asked.run).testing.get(asked.ood_set, ())))
        return _certain(len(asked.run.members().by_name.get(role or asked.ood_set, ())))

    return measure


def _inverted(asked: Asked) -> Interval:
    if asked.half:
        auroc = picking.judged(asked.run, asked.detector)[MEAN]["auroc"].value
        return _certain(picking.is_inverted(asked.run, asked.detector, auroc))
    return _certain(asked.detector in asked.run.inverted)


def _certain(number: float) -> Interval:
    """A figure without doubt."""
    return Interval(float(number), float(number), float(number))


METRICS = (
    Metric(
        "fpr95",
        "Unfamiliar images accepted when 95 % of familiar images are (FPR95)",
        _audited("fpr95"),
        of=Of.DETECTOR,
        sets=Sets.MEAN,
    ),
    Metric(
        "fpr95_ood_positive",
        "Familiar images flagged when 95 % of unfamiliar images are (FPR95, OOD positive)",
        _audited("fpr95_ood_positive"),
        of=Of.DETECTOR,
        sets=Sets.MEAN,
    ),
    Metric(
        "auroc",
        "How well familiar and unfamiliar images are separated (AUROC)",
        _auroc,
        low_is_good=False,
        of=Of.DETECTOR,
        sets=Sets.MEAN,
    ),
    Metric(
        "strangers_passing",
        "Unfamiliar images accepted at the threshold",
        _ood_accepted,
        of=Of.THRESHOLD,
        sets=Sets.MEAN,
    ),
    Metric(
        "familiar_passing",
        "Familiar images accepted at the threshold",
        _id_accepted,
        low_is_good=False,
        of=Of.THRESHOLD,
    ),
    Metric("id_accuracy", "Familiar images classified correctly", _id_accuracy, low_is_good=False),
    Metric(
        "accuracy_passing",
        "Accepted familiar images classified correctly",
        _accuracy_passing,
        low_is_good=False,
        of=Of.THRESHOLD,
    ),
    Metric(
        "accuracy_loss",
        "Correct classifications lost by the short-circuit",
        _accuracy_loss,
        of=Of.DETECTOR,
    ),
    Metric(
        "ece",
        "How far the confidence is from the share that is right (calibration error)",
        _ece,
    ),
    Metric(
        "worst_class_accuracy",
        "Familiar images of the worst class classified correctly",
        _worst_class_accuracy,
        low_is_good=False,
    ),
    Metric(
        "accepted_errors",
        "Accepted images that are answered wrongly",
        _accepted_errors,
        of=Of.THRESHOLD,
        sets=Sets.MEAN,
        mixed=True,
    ),
    Metric(
        "calibration_pictures",
        "Calibration images",
        _images("calibration"),
        unit=Unit.COUNT,
        low_is_good=False,
    ),
    Metric(
        "familiar_pictures",
        "Familiar images tested",
        _images("id"),
        unit=Unit.COUNT,
        low_is_good=False,
    ),
    Metric(
        "stranger_pictures",
        "Unfamiliar images tested",
        _images(),
        unit=Unit.COUNT,
        low_is_good=False,
        sets=Sets.PER_SET,
    ),
    Metric(
        "inverted",
        "The detector points the wrong way",
        _inverted,
        unit=Unit.FLAG,
        of=Of.DETECTOR,
    ),
)
"""Every figure that a policy can limit. A new one is an entry here and a line in docs/policy.md."""

BY_NAME = {metric.name: metric for metric in METRICS}
