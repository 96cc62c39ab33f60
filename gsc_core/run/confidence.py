"""Whether a run's confidences can be taken at their word, and which classes are the worst.

All of it is of labelled ID test images; what was fitted was fitted on calibration images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_core.evaluation.calibration import ConfidenceCalibration, confidence_calibration
from gsc_core.evaluation.class_accuracy import ClassAccuracy, class_accuracies
from gsc_core.evaluation.interval import Interval
from gsc_core.run.document import Temperature
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from gsc_core.run.summary import remembered


@dataclass(frozen=True)
class Trust:
    """What is to be held of a classifier's confidence and of its classes.

    classes: those that test images have, the worst first. untested: how many classes of the model
    no labelled test image has; None where the run does not say how many it has. temperature: None
    where none was fitted.
    """

    calibration: ConfidenceCalibration
    classes: tuple[ClassAccuracy, ...]
    untested: int | None
    temperature: Temperature | None

    @property
    def worse(self) -> tuple[ClassAccuracy, ...]:
        """The classes that are worse than the others, not by bad luck."""
        return tuple(one for one in self.classes if one.worse)


@remembered
def trust_of(run: Run) -> Trust | None:
    """None where no familiar test image has a label.

    Raises GscError when the run's scores are missing or damaged.
    """
    rows = labelled_rows(run, ID)
    if not len(rows):
        return None
    labels, predicted = (run.column(name)[rows] for name in ("label", "predicted"))
    classes = class_accuracies(labels, predicted)
    every = run.settings.classes
    return Trust(
        calibration=confidence_calibration(labels == predicted, run.column("confidence")[rows]),
        classes=classes,
        untested=None if every is None else max(0, every - len(classes)),
        temperature=run.document.temperature,
    )


def calibration_error(run: Run) -> Interval | None:
    """The expected calibration error alone; None without labels."""
    trust = trust_of(run)
    return None if trust is None else trust.calibration.error


def labelled_rows(run: Run, of: str) -> Rows:
    """Row numbers of the images of `"id"` or `"calibration"` that have a label, rising."""
    if of == CALIBRATION and of not in run.members().by_name:
        return np.empty(0, dtype=np.intp)
    rows = run.rows_of([of])
    return rows[run.column("label")[rows] >= 0]


def is_correct(run: Run, rows: Rows) -> NDArray[np.bool_]:
    """Whether each of these labelled images is classified correctly."""
    return np.asarray(run.column("predicted")[rows] == run.column("label")[rows])
