"""The temperature of a run: fitted on calibration images; `run.temperature` judges it on others."""

from __future__ import annotations

from gsc_core.detectors.base import Calibration
from gsc_core.evaluation.temperature import fit_temperature


def temperature_of(calibration: Calibration) -> float | None:
    """What fits the labelled calibration images best; None where nothing does."""
    labels = calibration.labels.cpu().numpy()
    return fit_temperature(calibration.logits.float().cpu().numpy(), labels)
