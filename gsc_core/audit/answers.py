"""An audit as it is to go on once a question is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.options import parse_options
from gsc_core.classifier.spec import ModelSpec
from gsc_core.errors import SpecError
from gsc_core.errors.questions import Answer, Choice, Setting
from gsc_core.images.labels import labels_from


def answered(spec: AuditSpec, answer: Answer) -> AuditSpec:
    """The specification with an answer's settings.

    Raises SpecError where an answer names a part of images that are no folder.
    """
    for choice in answer.choices:
        spec = spec.model_copy(update=_of_audit(spec, choice))
    return spec


def answered_of_model(spec: ModelSpec, answer: Answer) -> ModelSpec:
    """The same of a model alone; what is no setting of a model changes nothing."""
    for choice in answer.choices:
        spec = spec.model_copy(update=_of_model(spec, choice))
    return spec


def _of_audit(spec: AuditSpec, choice: Choice) -> dict[str, Any]:
    match choice.setting:
        case Setting.LABELS | Setting.CALIBRATION_LABELS:
            return {choice.setting.value: labels_from(choice.value)}
        case Setting.LABEL_ORDER:
            return {"label_order": choice.value}
        case Setting.PART:
            return {"id": _part(spec.id, choice.value)}
        case Setting.CALIBRATION_PART:
            assert isinstance(spec.calibration, Path)
            return {"calibration": _part(spec.calibration, choice.value)}
        case _:
            return {"model": spec.model.model_copy(update=_of_model(spec.model, choice))}


def _of_model(spec: ModelSpec, choice: Choice) -> dict[str, Any]:
    match choice.setting:
        case Setting.OPTIONS:
            return {"options": {**spec.options, **parse_options([choice.value])}}
        case Setting.WEIGHTS:
            return {"weights": choice.value}
        case _:
            return {}


def _part(images: Path, folder: str) -> Path:
    if not images.is_dir():
        raise SpecError(f"{images.name} is no folder: unpack it, and give its folder {folder}.")
    return images / folder
