"""What an audit found, as `metrics.json` holds it: typed, versioned, with one reader.

A figure that a document lacks is a figure that is not known: earlier versions measured less. What
a document of the same version holds beyond this is kept. A later version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.evaluation.metrics import METRICS
from gsc_core.evaluation.selection import Selection
from gsc_core.evaluation.thresholds import Rule
from gsc_core.files import written_aside
from gsc_core.run.earlier import detector_records
from gsc_core.run.layout import METRICS_FILE
from gsc_core.run.set_checks import SetChecks, Share

FORMAT: Final = "gsc-audit-run"
VERSION: Final = 1

FittedWith = Literal["images", "labels", "surrogates"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Open(BaseModel):
    """Keeps what it does not know: a report shows all that was recorded."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def recorded(self) -> dict[str, Any]:
        """All that was recorded, as JSON has it; nothing that was not."""
        return self.model_dump(mode="json", exclude_unset=True)


class Result(_Part):
    """One detector on one OOD set, or on their `"mean"`: each metric, 0 to 1, with its interval.

    In the document each metric is three numbers beside the names: itself, `_low` and `_high`.
    """

    detector: str
    ood_set: str
    metrics: Mapping[str, Interval]

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, entry: Any) -> Any:
        if not isinstance(entry, dict) or "metrics" in entry:
            return entry
        of = {name: [entry.get(name + end) for end in ("", "_low", "_high")] for name in METRICS}
        there = {name: _interval(bounds) for name, bounds in of.items() if bounds[0] is not None}
        return {key: entry.get(key) for key in ("detector", "ood_set")} | {"metrics": there}

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        row: dict[str, Any] = {"detector": self.detector, "ood_set": self.ood_set}
        for name, interval in self.metrics.items():
            row |= {
                name: interval.value,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        return row

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, _: GetJsonSchemaHandler) -> Any:
        """The flat form, in which it is written."""
        names = {name: {"type": "string"} for name in ("detector", "ood_set")}
        share = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]}
        numbers = {name + end: share for name in METRICS for end in ("", "_low", "_high")}
        return {
            "type": "object",
            "description": (cls.__doc__ or "").partition("\n")[0],
            "properties": names | numbers,
            "required": list(names),
        }

    def metric(self, name: str) -> Interval | None:
        """A metric with its interval; None when the run does not have it."""
        return self.metrics.get(name)

    def value(self, name: str) -> float | None:
        """A metric without its interval; None when the run does not have it."""
        interval = self.metrics.get(name)
        return None if interval is None else interval.value


_BOUNDS: Final[TypeAdapter[tuple[float, float, float]]] = TypeAdapter(tuple[Share, Share, Share])


def _interval(bounds: list[Any]) -> Interval:
    """A metric and its bounds; raises ValidationError where they are not shares."""
    return Interval(*_BOUNDS.validate_python(bounds))


class PaperRecord(_Part):
    """Where a method was published."""

    title: str
    venue: str
    year: int
    url: str


class DetectorRecord(_Part):
    """What a reader needs to know of a detector, without the code that ran it.

    about: one sentence. family: what it goes by. fails_on: where it is known to fail, in a few
    words. fitted_with: what it learned from, besides the network. explains: whether it
    short-circuits channels that can be shown. settings: the value of each of its knobs, before it
    chose any by itself; None in runs from before they were recorded.
    """

    name: str
    title: str
    about: str
    family: str | None = None
    fails_on: str | None = None
    fitted_with: tuple[FittedWith, ...] = ()
    explains: bool = False
    paper: PaperRecord | None = None
    settings: Mapping[str, Any] | None = None


class ImageCounts(_Part):
    """How many images of a set were scored, and how many were left out and why.

    without_class: of the scored ID images those whose class is unknown, which no accuracy counts.
    """

    scored: int = Field(ge=0)
    without_class: int = Field(default=0, ge=0)
    broken: int = Field(default=0, ge=0)
    duplicates: int = Field(default=0, ge=0)


class BrokenImage(_Open):
    """A file that could not be read."""

    name: str
    reason: str


class DuplicateImage(_Open):
    """A file that was there already."""

    name: str


class LeftOutImages(_Part):
    """Files of a set that were left out, by name; of many only the first."""

    broken: tuple[BrokenImage, ...] = ()
    duplicates: tuple[DuplicateImage, ...] = ()


class PreparedAs(_Open):
    """How images were prepared for the classifier; source: who said so, or `assumed`."""

    source: str | None = None


class ModelCheck(_Part):
    """One thing that was checked about the model before the scoring, and how it came out.

    outcome: `unchecked` where nothing was there to check it by; the sentence says what was missing.
    """

    name: str
    outcome: Literal["fine", "warning", "unchecked"]
    sentence: str


class Temperature(_Part):
    """Temperature scaling of the confidence: logits are divided by `value`, and classes stay.

    fitted_on: labelled calibration images. What it does is of `tested` labelled ID test images:
    their mean log loss (natural logarithm, lower is better), `gain` what it falls by (None of one
    image), and the expected calibration error, 0 to 1.
    """

    value: float = Field(gt=0)
    fitted_on: int = Field(ge=1)
    tested: int = Field(ge=1)
    log_loss_before: float = Field(ge=0)
    log_loss_after: float = Field(ge=0)
    gain: Interval | None
    error_before: Interval
    error_after: Interval


class Settings(_Open):
    """The specification as it was carried out, with what was chosen by default.

    labels: how the classes of labels were found.
    """

    id: str | None = None
    ood: Mapping[str, str] = {}
    calibration: str | float | None = None
    labels: str | None = None
    split: str | None = None
    precision: str | None = None
    preprocessing: PreparedAs = PreparedAs()
    classifier: str | None = None
    architecture: str | None = None
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    parameters: int | None = None


class Provenance(_Open):
    """What the figures depend on, and where and when they were made. device: such as `cuda:0`."""

    model_sha256: str | None = None
    image_sets_sha256: Mapping[str, str] = {}
    versions: Mapping[str, str] = {}
    seed: int | None = None
    device: str = "cpu"
    machine: str | None = None
    finished: str | None = None
    seconds: float | None = None


_RULE: Final[dict[str, Any]] = {  # the settings are those of the rule that has this name
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


class NamedDecision(_Part):
    """What decides until a person does: named before any OOD image was seen.

    value: the threshold; None where the calibration images are too few, so that all is accepted.
    """

    detector: str
    rule: Annotated[Rule, WithJsonSchema(_RULE)]
    value: float | None = Field(default=None, allow_inf_nan=False)


class FusedPart(_Part):
    """What one detector counts in a fused score: `weight · (score − middle) / spread`."""

    detector: str
    weight: Share
    middle: float
    spread: float


class FusedScore(_Part):
    """A weighted mean of scores; useless: detectors that surrogates gave no weight.

    learned: whether the weights are from surrogates; else all are the same.
    """

    parts: tuple[FusedPart, ...]
    useless: tuple[str, ...] = ()
    learned: bool = True


class RunDocument(_Part):
    """Everything that an audit found; shares are 0 to 1.

    detectors: those that were asked for, the excused among them, and the parts of ensembles.
    results: every detector on every OOD set and on their `"mean"`.
    id_accuracy: of labelled ID images; id_accuracy_after: by what is predicted after a detector's
        short-circuit.
    images, left_out: of each set, and of which files.
    excused: detectors that could not run or failed, with the reason.
    inverted: detectors by which OOD images, or surrogate outliers made from calibration images,
        score lower than ID images.
    in_sample: detectors whose calibration scores are of images they learned from, so that
        thresholds promise too much.
    surrogate_auroc: how well surrogate outliers are told from ID images.
    chosen: the settings of detectors that chose some, with nothing left open.
    selections, partners: what they chose from; partners, of earlier versions, are losses by
        ensemble and detector.
    fusions: what each part counts in the score of an ensemble that weighs them.
    tuned_on: how many calibration images the settings of a file of `gsc tune` were learned from;
        None without such a file.
    directions: whether a GSC detector scores `as published` or `turned`.
    checks: what was checked about the model before the scoring.
    set_checks: what was noticed about the image sets; None where an earlier version wrote the
        document.
    decision: the one that was named beforehand; None where an earlier version wrote the document.
    temperature: None without labels, and where no temperature fits the calibration images best.
    """

    format: Literal["gsc-audit-run"] = FORMAT
    version: int = Field(default=VERSION, ge=1, le=VERSION, strict=True)
    detectors: tuple[DetectorRecord, ...] = ()
    results: tuple[Result, ...] = Field(min_length=1)
    id_accuracy: Share | None = None
    id_accuracy_after: Mapping[str, Share] = {}
    inverted: tuple[str, ...] = ()
    in_sample: tuple[str, ...] = ()
    surrogate_auroc: Mapping[str, Share] = {}
    chosen: Mapping[str, Mapping[str, Any]] = {}
    selections: Mapping[str, Selection] = {}
    partners: Mapping[str, Mapping[str, float]] = {}
    fusions: Mapping[str, FusedScore] = {}
    tuned_on: int | None = None
    directions: Mapping[str, str] = {}
    images: Mapping[str, ImageCounts] = {}
    left_out: Mapping[str, LeftOutImages] = {}
    excused: Mapping[str, str] = {}
    checks: tuple[ModelCheck, ...] = ()
    set_checks: SetChecks | None = None
    decision: NamedDecision | None = None
    temperature: Temperature | None = None
    settings: Settings = Settings()
    provenance: Provenance = Provenance()

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "format" in document:
            return document
        return document | {"detectors": detector_records(document)}

    @model_validator(mode="after")
    def _has_means(self) -> Self:
        rows = [(row.detector, row.ood_set) for row in self.results]
        if len(set(rows)) != len(rows) or not any(ood_set == MEAN for _, ood_set in rows):
            raise ValueError("rows are doubled or have no mean")
        return self

    def to_json(self) -> str:
        """The document as `metrics.json` holds it."""
        return json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False)

    def write(self, folder: Path) -> None:
        """Write `metrics.json` into the folder of a run, whole or not at all."""
        with written_aside(folder / METRICS_FILE) as part:
            part.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunDocument:
        """Read `metrics.json` in the folder of a run.

        Raises GscError when there is none, it is damaged, or a later version wrote it.
        """
        try:
            text = (folder / METRICS_FILE).read_bytes()
        except OSError as error:
            raise GscError(
                f'There is no result for the run "{folder.name}": choose another or run the audit.'
            ) from error
        try:
            return cls.model_validate_json(text)
        except (ValidationError, RecursionError) as error:
            version = _version(text)
            if version is not None and version > VERSION:
                raise GscError(
                    f'The run "{folder.name}" was made by a later version of this program (its '
                    f"document has version {version}, {VERSION} can be read): update the program."
                ) from error
            raise GscError(
                f'The result of run "{folder.name}" is damaged ({METRICS_FILE}): run the audit '
                "again."
            ) from error


def _version(text: bytes) -> int | None:
    """The version that a document names, whatever else it holds."""
    try:
        version = json.loads(text)["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if isinstance(version, int) else None
