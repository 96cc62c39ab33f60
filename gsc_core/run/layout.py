"""What lies where in the folder of a run, and what the columns of its scores are called."""

from __future__ import annotations

from pathlib import Path

SPEC_FILE = "spec.json"
METRICS_FILE = "metrics.json"
SCORES_FILE = "scores.parquet"
FEATURES_FILE = "features.parquet"
CALIBRATION_FILE = "calibration.safetensors"
CHANNELS_FILE = "channels.parquet"
MAP_FILE = "map.parquet"
SUMMARY_FILE = "summary.json"
LOG_FILE = "log.txt"
DECISION_FILE = "threshold.json"
MARKS_FILE = "marks.json"
CLASS_NAMES_FILE = "class-names.json"
CHUNKS_FOLDER = "chunks"
UNPACKED_FOLDER = "unpacked"

ID = "id"
CALIBRATION = "calibration"
LABEL = "label"
"""The column of class indices, −1 where unknown."""
PREDICTED_AFTER = "predicted_after_"
"""Before a detector's name: the column of classes predicted after its short-circuit."""
TEMPERED_CONFIDENCE = "tempered_confidence"
LOG_LOSS = "log_loss"
TEMPERED_LOG_LOSS = "tempered_log_loss"
"""Columns of ID images: the confidence at the temperature that was fitted, the log loss of the
label before and at it. Null where the label is unknown, and for other images."""
TEMPERED_COLUMNS = (TEMPERED_CONFIDENCE, LOG_LOSS, TEMPERED_LOG_LOSS)
FEATURE = "feature"
SELF_CONFIDENCE = "self_confidence"
"""Columns of `features.parquet`, whose rows are those of `scores.parquet`: the feature made small,
of calibration images too; the confidence in the class of the label, null where that is unknown."""
COARSE_SHAPES = "coarse_shapes"
ANSWER_CONFIDENCE = "answer_confidence"
"""Columns of the chunks alone, for what is looked at once all are scored: the coarse shapes of the
image, the confidence in the predicted class at the temperature that fits."""


def unpacked_folder(run: Path, set_name: str) -> Path:
    """Where the images of a set that came as a ZIP lie.

    `set_name` is `"id"`, `"calibration"` or what a person called an OOD set, which names no file.
    """
    inner = set_name if set_name in (ID, CALIBRATION) else set_name.encode().hex()
    return run / UNPACKED_FOLDER / inner
