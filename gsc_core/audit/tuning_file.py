"""Settings of `gsc-auto` and `auto-ensemble` as a file holds them, and an audit that takes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.classifier.load import load_classifier
from gsc_core.detectors.auto import MEAN, AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.facts import AUTO
from gsc_core.errors import SpecError
from gsc_core.evaluation.selection import Tried
from gsc_core.run.document import FusedScore

FORMAT: Final = "gsc-audit-tuning"
VERSION: Final = 2
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
    many it was chosen on. ensemble: what each part counts in the score of `auto-ensemble`.
    tuned_on: digests of the calibration images. Version 1 has neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gsc-audit-tuning"] = FORMAT
    version: Literal[1, 2] = VERSION
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
    ensemble: FusedScore | None = None
    tuned_on: tuple[str, ...] | None = None

    @property
    def ensemble_settings(self) -> dict[str, Any] | None:
        """Those of `auto-ensemble`; None where its weights could not be learned."""
        if self.ensemble is None or not self.ensemble.learned:
            return None
        parts = "/".join(f"{part.detector}={part.weight!r}" for part in self.ensemble.parts)
        return {"weights": parts}

    @field_validator("settings")
    @classmethod
    def _nothing_is_open(cls, settings: dict[str, Any]) -> dict[str, Any]:
        settings = AutoGSC.former_settings() | settings  # a file from before there were all of them
        AutoGSC.configured(settings)  # raises SpecError
        cuts = settings.get("layer") == "none" or settings.get("share")
        if settings.keys() != _KNOBS or AUTO in settings.values() or not cuts:
            raise ValueError("a setting is left open")
        return settings

    @model_validator(mode="after")
    def _weights_can_be_taken(self) -> Self:
        AutoEnsemble.configured(self.ensemble_settings or {})  # raises SpecError
        return self


def with_tuned(spec: AuditSpec, file: Path) -> AuditSpec:
    """The audit with the choice of a file in place of a search, at the layer it was made for.

    The weights of `auto-ensemble` are taken where the audit names it. Raises SpecError when the
    file is none of ours, was made for another model, or the audit asks for another layer or sets
    one of the two itself.
    """
    tuned = read_tuned(file)
    if _sha256(spec.model) != tuned.model_sha256:
        raise SpecError(f"{file} was made for another model: tune this one with gsc tune.")
    if spec.split not in (None, tuned.split):
        raise SpecError(
            f"{file} was made for the layer {tuned.split}, not {spec.split}: leave --split out, or "
            "tune for that layer."
        )
    named = {detector.name: detector for detector in spec.detectors}
    auto_gsc = DetectorSpec(name=AutoGSC.name, settings=_settings(tuned))
    given = {auto_gsc.name: auto_gsc}
    if tuned.ensemble_settings is not None and AutoEnsemble.name in named:
        settings = tuned.ensemble_settings
        given[AutoEnsemble.name] = DetectorSpec(name=AutoEnsemble.name, settings=settings)
    for name, usual in ((AutoGSC.name, AutoGSC()), (AutoEnsemble.name, AutoEnsemble())):
        set_there = name in named and named[name].build().settings() != usual.settings()
        if name in given and set_there:
            raise SpecError(
                f"{name} is set by both {file} and --detectors: name it there without settings."
            )
    detectors = named | given if auto_gsc.name in named else given | named | given
    changed = {
        "split": tuned.split,
        "detectors": tuple(detectors.values()),
        "tuned_on": tuned.tuned_on,
    }
    return spec.model_copy(update=changed)


def _settings(tuned: Tuned) -> dict[str, Any]:
    """Those of `gsc-auto`; learned weights stay open where nobody knows on which images."""
    if tuned.tuned_on is None and tuned.settings["weights"] != MEAN:
        return tuned.settings | {"weights": AUTO}
    return tuned.settings


def read_tuned(file: Path) -> Tuned:
    """A choice that `tune` wrote; raises SpecError when it cannot be read."""
    content = content_of(file)
    if content is None:
        raise SpecError(f"{file} was not written by gsc tune: name a file that was.")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise SpecError(
            f"{file} was written by a newer version of this program: update it, or tune again."
        )
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
