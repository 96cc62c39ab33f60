"""A choice of `gsc-auto`'s settings as a file holds it, and an audit that takes it from there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.classifier.load import load_classifier
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.facts import AUTO
from gsc_core.errors import SpecError
from gsc_core.evaluation.selection import Tried

FORMAT: Final = "gsc-audit-tuning"
VERSION: Final = 1
_KNOBS = frozenset(knob.name for knob in AutoGSC.knobs())


class RunnerUp(BaseModel):
    """What else was tried, at which layer."""

    model_config = ConfigDict(frozen=True)

    split: str | None
    tried: Tried


class Tuned(BaseModel):
    """A choice as its file holds it; figures are on surrogate outliers, 0 to 1.

    settings: those of `gsc-auto`, with nothing left open. nothing: the same without a
    short-circuit. runners_up: the next best over all layers, best first. images, surrogates: how
    many it was chosen on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gsc-audit-tuning"] = FORMAT
    version: Literal[1] = VERSION
    split: str | None
    settings: dict[str, Any]
    chosen: Tried
    nothing: Tried
    runners_up: tuple[RunnerUp, ...]
    images: int
    surrogates: int
    seed: int
    model_sha256: str
    versions: dict[str, str]

    @field_validator("settings")
    @classmethod
    def _nothing_is_open(cls, settings: dict[str, Any]) -> dict[str, Any]:
        settings = AutoGSC.former_settings() | settings  # a file of before there were all of them
        AutoGSC.configured(settings)  # raises SpecError
        cuts = settings.get("layer") == "none" or settings.get("share")
        if settings.keys() != _KNOBS or AUTO in settings.values() or not cuts:
            raise ValueError("a setting is left open")
        return settings


def with_tuned(spec: AuditSpec, file: Path) -> AuditSpec:
    """The audit with the choice of a file in place of a search, at the layer it was made for.

    Raises SpecError when the file is none of ours, was made for another model, or the audit asks
    for another layer or sets `gsc-auto` itself.
    """
    tuned = read_tuned(file)
    if _sha256(spec.model) != tuned.model_sha256:
        raise SpecError(f"{file} was made for another model: tune this one with gsc tune.")
    if spec.split not in (None, tuned.split):
        raise SpecError(
            f"{file} was made for the layer {tuned.split}, not {spec.split}: leave --split out, or "
            "tune for that layer."
        )
    usual = AutoGSC().settings()
    if any(
        detector.name == AutoGSC.name and detector.build().settings() != usual
        for detector in spec.detectors
    ):
        raise SpecError(
            f"{AutoGSC.name} is set by both {file} and --detectors: name it there without settings."
        )
    auto_gsc = DetectorSpec(name=AutoGSC.name, settings=tuned.settings)
    named = {detector.name: detector for detector in spec.detectors}
    detectors = (
        named | {auto_gsc.name: auto_gsc} if auto_gsc.name in named else {"": auto_gsc} | named
    )
    return spec.model_copy(update={"split": tuned.split, "detectors": tuple(detectors.values())})


def read_tuned(file: Path) -> Tuned:
    """A choice that `tune` wrote; raises SpecError when it cannot be read."""
    content = content_of(file)
    if content is None:
        raise SpecError(f"{file} is not a file of gsc tune: name one that it wrote.")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SpecError(f"{file} is of a newer version: update this program, or tune again.")
    try:
        return Tuned.model_validate(content)
    except (ValidationError, SpecError) as error:
        raise SpecError(f"{file} is damaged: write it again with gsc tune.") from error


def content_of(file: Path) -> dict[str, Any] | None:
    """What a file of ours holds, of whatever version; None when it is of another kind."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise SpecError(f"{file} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def _sha256(model: ModelSpec) -> str:
    """As `Classifier.sha256`; a file, which the audit opens anyway, is only read for it."""
    if model.checkpoint is None or not model.checkpoint.is_file():
        return load_classifier(model).sha256  # or what is wrong with it
    with model.checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
