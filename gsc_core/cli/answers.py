"""How the command line answers a question: by the options of the same command."""

from __future__ import annotations

from gsc_core.errors.questions import Choice, Setting, Wording

OPTIONS = {
    Setting.ARCHITECTURE: "--arch",
    Setting.OPTIONS: "--option",
    Setting.WEIGHTS: "--weights",
    Setting.PREPROCESSING: "--preprocess",
    Setting.LABELS: "--labels",
    Setting.LABEL_ORDER: "--label-order",
    Setting.PART: "--id",
    Setting.CALIBRATION_LABELS: "--calibration-labels",
    Setting.CALIBRATION_PART: "--calibration",
}
_PARTS = (Setting.PART, Setting.CALIBRATION_PART)


def _typed(choice: Choice) -> str:
    if choice.setting in _PARTS:
        return f"its folder {choice.value} alone"
    return f"{OPTIONS[choice.setting]} {choice.value}"


ON_THE_COMMAND_LINE = Wording("choose", _typed, OPTIONS.__getitem__)
