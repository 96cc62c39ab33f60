"""The report as data: what every output shows, and what the JSON file holds.

Shares are 0..1. Outlier scores: higher = more likely OOD. `version` rises when a field changes its
meaning or goes; readers may rely on the rest.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    # An infinite threshold (too few calibration images) is written as a word: JSON has no number.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Counted(_Part):
    """How many of a set's test pictures pass; `low` and `high` bound the share, 95 %."""

    name: str
    tested: int
    passed: int
    share: float
    low: float
    high: float


class Decided(_Part):
    """The threshold, how it was found, what it does. `chosen` is None for the default."""

    detector: str
    rule: str
    value: float
    chosen: datetime | None
    calibration: int
    familiar: Counted
    strangers: tuple[Counted, ...]
    strangers_share: float
    sentences: tuple[str, ...]
    warning: str | None


class Figure(_Part):
    """A metric with its 95 % interval."""

    value: float
    low: float
    high: float


class DetectorRow(_Part):
    """One detector on the mean of the OOD sets."""

    name: str
    fpr95: Figure
    auroc: Figure
    notes: tuple[str, ...]


class Bars(_Part):
    """Share of a set's pictures in each bin."""

    name: str
    shares: tuple[float, ...]


class Histogram(_Part):
    """Scores of the deciding detector from `low` to `high`; the outermost bins hold the rest."""

    low: float
    high: float
    familiar: Bars
    strangers: tuple[Bars, ...]


class RocLine(_Part):
    """Points (share of strangers, share of familiar pictures that pass) of one OOD set."""

    name: str
    auroc: float
    points: tuple[tuple[float, float], ...]


class Picture(_Part):
    """One picture of the test; `thumbnail` is a data URL, None when left out or lost."""

    file: str
    set: str
    label: str | None
    predicted: str
    confidence: float
    score: float
    thumbnail: str | None


class PictureGroup(_Part):
    """Pictures that tell the same thing."""

    title: str
    pictures: tuple[Picture, ...]


class SetTested(_Part):
    """A set of pictures: how many were scored, and how many left out."""

    name: str
    role: str
    scored: int
    broken: int
    duplicates: int
    sha256: str | None


class Term(_Part):
    """A word and what it means."""

    word: str
    meaning: str


class Report(_Part):
    """Everything a report says about one run; `own_choices` is how detectors set themselves."""

    format: Literal["gsc-audit-report"] = "gsc-audit-report"
    version: Literal[1] = 1
    run: str
    title: str
    subject: str
    made: datetime
    verdict: str
    limits: tuple[str, ...]
    decision: Decided
    accuracy: float | None
    accuracy_after: Mapping[str, float]
    detectors: tuple[DetectorRow, ...]
    own_choices: tuple[str, ...] = ()
    excused: Mapping[str, str]
    histogram: Histogram
    roc: tuple[RocLine, ...]
    pictures: tuple[PictureGroup, ...]
    images_left_out: bool
    sets: tuple[SetTested, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    glossary: tuple[Term, ...]
