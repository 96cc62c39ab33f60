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
    """How many of a set's test images are accepted; `low` and `high` bound the share, 95 %."""

    name: str
    tested: int
    passed: int
    share: float
    low: float
    high: float


class Decided(_Part):
    """The threshold, how it was set, what it does. `chosen` is None for the default.

    title and about: what the detector is called, and what it does, in words. halved: the threshold
    was set with half of the unfamiliar images; picked: the detector was picked by them. The counts
    are of the other half then. note: what the person who chose wrote about it.
    """

    detector: str
    title: str
    about: str
    rule: str
    value: float
    chosen: datetime | None
    halved: bool
    calibration: int
    familiar: Counted
    strangers: tuple[Counted, ...]
    strangers_share: float
    sentences: tuple[str, ...]
    warning: str | None
    picked: bool = False
    note: str | None = None


class Figure(_Part):
    """A metric with its 95 % interval."""

    value: float
    low: float
    high: float


class DetectorRow(_Part):
    """One detector on the mean of the OOD sets; `title` is what it is called in words."""

    name: str
    title: str
    fpr95: Figure | None
    auroc: Figure | None
    notes: tuple[str, ...]


class SetFigures(_Part):
    """The deciding detector on one OOD set, whatever the threshold."""

    name: str
    fpr95: Figure | None
    auroc: Figure | None


class Bars(_Part):
    """Share of a set's images in each bin."""

    name: str
    shares: tuple[float, ...]


class Histogram(_Part):
    """Scores of the deciding detector from `low` to `high`; the outermost bins hold the rest.

    scale: the bins are even in the scores, or in their log-odds, which shows both ends of ranks.
    """

    low: float
    high: float
    familiar: Bars
    strangers: tuple[Bars, ...]
    scale: Literal["linear", "log-odds"] = "linear"


class RocLine(_Part):
    """Points (share of OOD images accepted, share of ID images accepted) of one OOD set."""

    name: str
    auroc: float
    points: tuple[tuple[float, float], ...]


class Channel(_Part):
    """A short-circuited channel of one image.

    `removed` is what cutting it took from the predicted class's logit; `usual` are the bounds
    (5 % and 95 % of calibration images) of its contribution, None where none were stored.
    """

    index: int
    contribution: float
    removed: float
    usual: tuple[float, float] | None


class Explained(_Part):
    """What the short-circuit does to one image.

    `heat` is a data URL of the image as the classifier saw it, with the places laid over it; None
    with a reason in `no_heat`. `channels` are those whose loss cost the answer most. `channels_cut`
    counts those of which anything was cut, `share_cut` is the share of all values. Logits and
    confidences (shares) are of the class predicted before.
    """

    detector: str
    heat: str | None
    no_heat: str | None
    channels: tuple[Channel, ...]
    channels_cut: int
    channel_count: int
    share_cut: float
    logit_before: float
    logit_after: float
    confidence_before: float
    confidence_after: float


class Picture(_Part):
    """One image of the test; `thumbnail` is a data URL, None when left out or lost.

    `explained` is None until somebody asked for the channels; `Report.channels_note` says why.
    """

    file: str
    set: str
    label: str | None
    predicted: str
    confidence: float
    score: float
    thumbnail: str | None
    explained: Explained | None = None


class PictureGroup(_Part):
    """Images that show the same thing."""

    title: str
    pictures: tuple[Picture, ...]


class Checked(_Part):
    """One thing that was checked about the model before the scoring, and how it came out."""

    name: str
    outcome: Literal["fine", "warning", "unchecked"]
    sentence: str


class SetTested(_Part):
    """A set of images: how many were scored, and how many left out."""

    name: str
    role: str
    scored: int
    broken: int
    duplicates: int
    sha256: str | None


class ClassRow(_Part):
    """What the threshold does to images seen as one class; None where there are none."""

    name: str
    familiar: Counted | None
    strangers: Counted | None


class Refusing(_Part):
    """Selective classification: what refusing flagged images gains.

    accuracy: of all labelled familiar images; accuracy_passing: of the accepted ones, with its 95 %
    interval. kept: share accepted. area: under the risk-coverage curve, low is good.
    points: (share accepted, share of these classified wrongly).
    """

    accuracy: float
    accuracy_passing: float
    low: float
    high: float
    kept: float
    area: float
    points: tuple[tuple[float, float], ...]


class ConfidenceGroup(_Part):
    """Labelled familiar images of about the same confidence, and how many of them are right.

    confidence: their mean. low, high: the 95 % interval of the share that is right.
    """

    images: int
    right: int
    confidence: float
    accuracy: float
    low: float
    high: float


class ClassAccuracy(_Part):
    """A class and how many of its images are right, with its own 95 % interval.

    worse: it is worse than the other classes, with a correction for looking at all of them.
    """

    name: str
    images: int
    right: int
    low: float
    high: float
    worse: bool


class Scaled(_Part):
    """What dividing the logits by `temperature` does on test images; it was fitted on others."""

    temperature: float
    fitted_on: int
    tested: int
    error_before: Figure
    error_after: Figure
    log_loss_before: float
    log_loss_after: float


class Confidence(_Part):
    """Whether the confidence can be trusted, on labelled familiar test images.

    confidence: its mean. error: the expected calibration error. scaled: None where no temperature
    was fitted. classes: the worst first, and `classes_more` is how many are not listed; `untested`
    have no test image, None where the run does not say how many classes there are.
    """

    sentences: tuple[str, ...]
    class_sentences: tuple[str, ...]
    confidence: float
    accuracy: Figure
    error: Figure
    groups: tuple[ConfidenceGroup, ...]
    scaled: Scaled | None
    classes: tuple[ClassAccuracy, ...]
    classes_more: int
    untested: int | None


class Errors(_Part):
    """What is answered wrongly of the images that are accepted.

    prevalence: the share of all images that is unfamiliar. accepted: of all. wrong: of those that
    are accepted, in two parts: mistakes on familiar images, and unfamiliar images. by_confidence,
    by_detector, by_both: points (share accepted, share of these wrong) for those who may refuse.
    """

    sentences: tuple[str, ...]
    prevalence: float
    accepted: float
    wrong: Figure
    mistakes: float
    unfamiliar: float
    by_confidence: tuple[tuple[float, float], ...] = ()
    by_detector: tuple[tuple[float, float], ...] = ()
    by_both: tuple[tuple[float, float], ...] = ()


class GateRule(_Part):
    """One limit of the release policy, its figure and what came of it."""

    title: str
    limit: str
    figure: str
    outcome: Literal["pass", "fail", "not enough data"]
    because: str


class Gate(_Part):
    """The verdict by the release policy that was agreed beforehand.

    sentence: the headline and the reasons against a pass in one; either is empty in earlier files.
    """

    outcome: Literal["pass", "fail", "not enough data"]
    sentence: str
    headline: str = ""
    reasons: tuple[str, ...] = ()
    rules: tuple[GateRule, ...]


class MarkedImage(_Part):
    """An image that somebody marked; `set` is what readers call its set, `label` the right class.

    doubt: why it is left out; None where it is not. file: None when images are left out.
    """

    set: str
    file: str | None
    doubt: Literal["not unfamiliar", "not familiar", "unusable"] | None
    label: str | None
    note: str | None
    when: datetime


class Revised(_Part):
    """The figures by the marks that people made after the audit, beside those of the audit.

    left_out: images; corrected: labels. value: the threshold, set by its rule on what is left.
    images: the marked ones, and `images_more` is how many are not listed.
    """

    title: str
    verdict: str
    sentences: tuple[str, ...]
    left_out: int
    corrected: int
    value: float
    familiar: Counted
    strangers: tuple[Counted, ...]
    strangers_share: float
    by_set: tuple[SetFigures, ...]
    detectors: tuple[DetectorRow, ...]
    accuracy: float | None
    images: tuple[MarkedImage, ...]
    images_more: int = 0


class Term(_Part):
    """A word and what it means."""

    word: str
    meaning: str


class Report(_Part):
    """Everything a report says about one run.

    classes: those the threshold matters most to, and `classes_more` is how many are not listed.
    checks: what was checked about the model, warnings first. prepared: how images were prepared for
    it, in words.
    names: what detectors are called in words. own_choices: how they tune themselves.
    channels_note: why images have no channels.
    without_marked: the figures without images that people marked; None where that changes none.
    """

    format: Literal["gsc-audit-report"] = "gsc-audit-report"
    version: Literal[2] = 2
    run: str
    title: str
    subject: str
    made: datetime
    verdict: str
    limits: tuple[str, ...]
    gate: Gate | None = None
    checks: tuple[Checked, ...] = ()
    prepared: str | None = None
    decision: Decided
    without_marked: Revised | None = None
    by_set: tuple[SetFigures, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    classes_more: int = 0
    refusing: Refusing | None = None
    confidence: Confidence | None = None
    errors: Errors | None = None
    accuracy: float | None
    accuracy_after: Mapping[str, float]
    detectors: tuple[DetectorRow, ...]
    names: Mapping[str, str] = {}
    own_choices: tuple[str, ...] = ()
    excused: Mapping[str, str]
    histogram: Histogram
    roc: tuple[RocLine, ...]
    pictures: tuple[PictureGroup, ...]
    images_left_out: bool
    channels_note: str | None = None
    sets: tuple[SetTested, ...]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    glossary: tuple[Term, ...]
