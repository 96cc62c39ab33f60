"""How many accepted images of a run are answered wrongly, by what is allowed to refuse them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.reliability import (
    Answers,
    Frontier,
    Objections,
    accepted_errors,
    frontier,
)
from gsc_core.run import decisions
from gsc_core.run.confidence import is_correct, labelled_rows
from gsc_core.run.decisions import Decision, Part
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.ood_halves import halves
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from gsc_core.run.summary import remembered

PREVALENCE = 0.1  # share of OOD images where nobody says what to expect


@dataclass(frozen=True)
class AcceptedErrors:
    """What a decision accepts of a stream with a share `prevalence` of OOD images, all 0..1.

    accepted: of the stream. wrong: of what is accepted, with its interval; it has two parts,
    mistakes: ID images that are classified wrongly, and unfamiliar: OOD images.
    """

    prevalence: float
    accepted: float
    wrong: Interval
    mistakes: float
    unfamiliar: float


def errors_of(
    run: Run, decision: Decision, ood_set: str | None = None, prevalence: float = PREVALENCE
) -> AcceptedErrors | None:
    """What is wrong of what a decision accepts; None where no ID test image has a label.

    `ood_set` None takes all OOD sets, each weighing the same. Counted on the images that test the
    decision. Raises GscError where nothing is accepted, and for damaged scores.
    """
    part = decisions.part_of(decision)
    return errors_at(run, decision.detector, decision.value, part, ood_set, prevalence)


@remembered
def errors_at(
    run: Run, detector: str, value: float, part: Part, ood_set: str | None, prevalence: float
) -> AcceptedErrors | None:
    """The same of a threshold, by a part of each OOD set."""
    rows = labelled_rows(run, ID)
    if not len(rows):
        return None
    ood = decisions.effect_at(run, detector, value, part).only(ood_set).ood.values()
    accepted = rows[run.column(detector)[rows].astype(np.float64) <= value]
    right = int(np.count_nonzero(is_correct(run, accepted)))
    wrong = accepted_errors(right, len(accepted) - right, len(rows), tuple(ood), prevalence)
    of_ood = prevalence * float(np.mean([one.share for one in ood]))
    whole = (1 - prevalence) * len(accepted) / len(rows) + of_ood
    return AcceptedErrors(
        prevalence=prevalence,
        accepted=whole,
        wrong=wrong,
        mistakes=wrong.value - of_ood / whole,
        unfamiliar=of_ood / whole,
    )


@remembered
def frontier_of(run: Run, detector: str, prevalence: float = PREVALENCE) -> Frontier | None:
    """What the confidence, a detector and both can do at best, for every share accepted.

    None where ID images have no labels. Limits are compared on labelled calibration images and on
    one half of each OOD set, and counted on ID test images and the other half. Raises TooFewError
    where a set is too small for halves, GscError where the scores are damaged.
    """
    testing, choosing = labelled_rows(run, ID), labelled_rows(run, CALIBRATION)
    if not len(testing) or not len(choosing):
        return None
    parts = halves(run)
    return frontier(
        _answers(run, detector, choosing, parts.setting, prevalence),
        _answers(run, detector, testing, parts.testing, prevalence),
    )


def _answers(
    run: Run, detector: str, id_rows: Rows, ood: Mapping[str, Rows], prevalence: float
) -> Answers:
    def objections(rows: Rows) -> Objections:
        return Objections.of(run.column("confidence")[rows], run.column(detector)[rows])

    of_ood = {name: objections(rows) for name, rows in ood.items()}
    return Answers.mixed(objections(id_rows), is_correct(run, id_rows), of_ood, prevalence)
