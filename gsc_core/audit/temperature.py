"""The temperature of a run: fitted on calibration images, judged on test images."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtri

from gsc_core.detectors.base import Calibration
from gsc_core.evaluation.calibration import confidence_calibration
from gsc_core.evaluation.effects import LEVEL
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats
from gsc_core.evaluation.temperature import fit_temperature
from gsc_core.run.document import Temperature
from gsc_core.run.layout import LOG_LOSS, TEMPERED_CONFIDENCE, TEMPERED_LOG_LOSS
from gsc_core.scoring.tempering import COLUMNS


def temperature_of(calibration: Calibration) -> float | None:
    """What fits the labelled calibration images best; None where nothing does."""
    labels = calibration.labels.cpu().numpy()
    return fit_temperature(calibration.logits.float().cpu().numpy(), labels)


def temperature_record(table: pa.Table, temperature: float | None) -> Temperature | None:
    """What a temperature does on the labelled ID images of `scores.parquet`.

    None without a temperature, and where no ID image has a label.
    """
    if temperature is None or TEMPERED_CONFIDENCE not in table.column_names:
        return None
    wanted = ["role", "label", "predicted", "confidence", *COLUMNS]
    labelled = table.select(wanted).filter(pc.greater(table["label"], -1))
    fitted_on = labelled.filter(pc.equal(labelled["role"], "calibration")).num_rows
    tested = labelled.filter(pc.equal(labelled["role"], "id"))
    tested = tested.drop_null()
    if not tested.num_rows:
        return None

    def column(name: str) -> Floats:
        return np.asarray(tested[name].to_numpy(), dtype=np.float64)

    correct = column("label") == column("predicted")
    before, after = column(LOG_LOSS), column(TEMPERED_LOG_LOSS)
    return Temperature(
        value=temperature,
        fitted_on=fitted_on,
        tested=tested.num_rows,
        log_loss_before=float(before.mean()),
        log_loss_after=float(after.mean()),
        gain=_mean(before - after),
        error_before=confidence_calibration(correct, column("confidence")).error,
        error_after=confidence_calibration(correct, column(TEMPERED_CONFIDENCE)).error,
    )


def _mean(values: Floats) -> Interval | None:
    """A mean of numbers `[N]` with its 95 % interval by the central limit theorem; None of one."""
    if len(values) < 2:
        return None
    value, deviation = float(values.mean()), float(values.std(ddof=1))
    half = float(ndtri((1 + LEVEL) / 2)) * deviation / float(np.sqrt(len(values)))
    return Interval(value, value - half, value + half)
