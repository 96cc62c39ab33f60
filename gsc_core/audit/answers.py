"""An audit as it is to go on once a question is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gsc_core.audit.spec import AuditSpec
from gsc_core.classifier.options import parse_options
from gsc_core.classifier.spec import ModelSpec
from gsc_core.errors import SpecError
from gsc_core.errors.questions import Answer, Choice, Setting
from gsc_core.images.labels import LabelsFrom, labels_from
from gsc_core.images.sources.uri import Uri


def answered(spec: AuditSpec, answer: Answer) -> AuditSpec:
    """The specification with an answer's settings.

    Raises SpecError where an answer names a part of images that are not a folder.
    """
    now = spec
    for choice in answer.choices:
        now = now.model_copy(update=_of_audit(spec, now, choice))
    return now


def answered_of_model(spec: ModelSpec, answer: Answer) -> ModelSpec:
    """The same of a model alone; what is not a setting of a model changes nothing."""
    for choice in answer.choices:
        spec = spec.model_copy(update=_of_model(spec, choice))
    return spec


def _of_audit(spec: AuditSpec, now: AuditSpec, choice: Choice) -> dict[str, Any]:
    """What a choice changes: a table is named as in the folder that was asked about."""
    match choice.setting:
        case Setting.LABELS:
            return {"labels": _labels(spec.id, choice.value)}
        case Setting.CALIBRATION_LABELS:
            assert not isinstance(spec.calibration, float)
            return {"calibration_labels": _labels(spec.calibration, choice.value)}
        case Setting.LABEL_ORDER:
            return {"label_order": choice.value}
        case Setting.PART:
            return {"id": _part(spec.id, choice.value)}
        case Setting.CALIBRATION_PART:
            assert not isinstance(spec.calibration, float)
            return {"calibration": _part(spec.calibration, choice.value)}
        case _:
            return {"model": now.model.model_copy(update=_of_model(now.model, choice))}


def _of_model(spec: ModelSpec, choice: Choice) -> dict[str, Any]:
    match choice.setting:
        case Setting.OPTIONS:
            return {"options": {**spec.options, **parse_options([choice.value])}}
        case Setting.WEIGHTS:
            return {"weights": choice.value}
        case _:
            return {}


def _labels(images: Path | Uri, value: str) -> LabelsFrom | None:
    if value == "folders" or isinstance(images, Uri) or not images.is_dir():
        return labels_from(value)
    return labels_from(images / value)


def _part(images: Path | Uri, folder: str) -> Path | Uri:
    if isinstance(images, Uri):
        return images.joined(folder)
    if not images.is_dir():
        raise SpecError(f"{images.name} is not a folder: unpack it, and give its folder {folder}.")
    return images / folder
