"""From a stored run and a decision to the report."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gsc_core import charts
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import in_1000
from gsc_core.evaluation.intervals import Interval
from gsc_core.evaluation.metrics import Floats, curve, metrics
from gsc_core.evaluation.thresholds import Effect, Passed
from gsc_core.images.thumbnails import thumbnail
from gsc_core.report import model
from gsc_core.report.glossary import GLOSSARY
from gsc_core.report.limits import limits_of
from gsc_core.workspace import decision_words, decisions, gallery, runs, selections
from gsc_core.workspace.decisions import Decision
from gsc_core.workspace.gallery import RunPicture
from gsc_core.workspace.runs import StoredRun

BINS = 60
MOST_DRAWN = 12  # sets in the charts; the tables name all
IN_A_GROUP = 4
THUMBNAIL = 176  # pixels
CURVE_POINTS = 160
PLACES = ("model", "id", "ood", "calibration")  # settings that name folders of this machine


def report_of(run: StoredRun, decision: Decision, *, images: bool = True) -> model.Report:
    """Everything the report says; `images` False leaves thumbnails and file names out.

    Raises GscError when the run's scores are missing or damaged.
    """
    scores = run.scores(decision.detector)
    known = scores.pop("id")
    found = decisions.effect_of(run, decision)
    drawn = dict(list(scores.items())[:MOST_DRAWN])
    return model.Report(
        run=run.id,
        title=runs.title(run.id),
        subject=runs.subject(run),
        made=datetime.now(UTC).replace(microsecond=0),
        verdict=_verdict(decision, found),
        limits=limits_of(run, decision, found),
        decision=_decided(run, decision, found),
        accuracy=run.id_accuracy,
        accuracy_after=run.id_accuracy_after,
        detectors=tuple(_detectors(run)),
        own_choices=tuple(_own_choices(run)),
        excused=run.excused,
        histogram=_histogram(known, drawn),
        roc=tuple(_roc(known, name, strange) for name, strange in drawn.items()),
        pictures=tuple(_pictures(run, decision)) if images else (),
        images_left_out=not images,
        sets=tuple(_sets(run)),
        settings=_settings(run),
        provenance=run.provenance,
        glossary=GLOSSARY,
    )


def _settings(run: StoredRun) -> dict[str, Any]:
    """How it was run, without folders of this machine: digests say what was used."""
    return {name: value for name, value in run.settings.items() if name not in PLACES}


def _verdict(decision: Decision, found: Effect) -> str:
    return (
        f"With the detector {decision.detector}, {in_1000(found.strangers_share)} of 1,000 "
        f"strangers would pass unnoticed while {in_1000(found.known.share)} of 1,000 "
        "familiar pictures are let through."
    )


def _decided(run: StoredRun, decision: Decision, found: Effect) -> model.Decided:
    calibration = len(run.calibration_scores(decision.detector))
    warning = decision_words.shortage(decision.rule, calibration)
    sentences = [decision_words.familiar_sentence(found), decision_words.strangers_sentence(found)]
    if warning is None:
        sentences.append(decision_words.basis_sentence(run, decision, found))
    return model.Decided(
        detector=decision.detector,
        rule=decision_words.rule_words(decision.rule),
        value=decision.value,
        chosen=decision.chosen,
        calibration=calibration,
        familiar=_counted("Familiar pictures", found.known),
        strangers=tuple(_counted(name, one) for name, one in found.strangers.items()),
        strangers_share=found.strangers_share,
        sentences=tuple(sentences),
        warning=warning,
    )


def _counted(name: str, found: Passed) -> model.Counted:
    return model.Counted(
        name=name,
        tested=found.total,
        passed=found.passed,
        share=found.share,
        low=found.low,
        high=found.high,
    )


def _detectors(run: StoredRun) -> Iterable[model.DetectorRow]:
    """The mean rows, the best first, those that point the wrong way last."""
    means = (run.row(name) for name in run.ranked())
    for row in (row for row in means if row is not None):
        notes = ["backwards: points the wrong way"] if row.detector in run.inverted else []
        if run.directions.get(row.detector) == "turned":
            notes.append("direction turned")
        yield model.DetectorRow(
            name=row.detector,
            fpr95=_figure(row.metrics["fpr95"]),
            auroc=_figure(row.metrics["auroc"]),
            notes=tuple(notes),
        )


def _own_choices(run: StoredRun) -> Iterable[str]:
    """How detectors set themselves, and what that was not done on."""
    chosen = selections.choices(run).sentences()
    if chosen:
        yield (
            "Some detectors set themselves, on familiar calibration pictures and on stand-ins for "
            "strangers that are made of these; no stranger was seen for it."
        )
        yield from chosen


def _figure(interval: Interval) -> model.Figure:
    return model.Figure(value=interval.value, low=interval.low, high=interval.high)


def _histogram(known: Floats, strangers: dict[str, Floats]) -> model.Histogram:
    edges = charts.shared_edges([known, *strangers.values()], BINS)
    return model.Histogram(
        low=float(edges[0]),
        high=float(edges[-1]),
        familiar=_bars("Familiar pictures", known, edges),
        strangers=tuple(_bars(name, scores, edges) for name, scores in strangers.items()),
    )


def _bars(name: str, scores: Floats, edges: Floats) -> model.Bars:
    heights = charts.shares(scores, edges)
    return model.Bars(name=name, shares=tuple(round(float(share), 5) for share in heights))


def _roc(known: Floats, name: str, strange: Floats) -> model.RocLine:
    found = curve(known, strange, CURVE_POINTS)
    x, y = (np.round(values, 4).tolist() for values in (found.fpr, found.tpr))
    auroc = metrics(known, strange).auroc
    return model.RocLine(name=name, auroc=auroc, points=tuple(zip(x, y, strict=True)))


def _pictures(run: StoredRun, decision: Decision) -> Iterable[model.PictureGroup]:
    """Where the detector errs most, and what it is surest of."""
    sets = list(run.ood_sets)
    groups = (
        ("Strangers that look most familiar", sets, False),
        ("Familiar pictures that look strangest", ["id"], True),
        ("Strangers that stand out most", sets, True),
    )
    column = run.column(decision.detector)
    for title, names, descending in groups:
        rows = gallery.ordered(run, decision.detector, sets=names, descending=descending)
        chosen = gallery.pictures(run, rows[:IN_A_GROUP])
        shown = tuple(_picture(run, one, float(column[one.row])) for one in chosen)
        yield model.PictureGroup(title=title, pictures=shown)


def _picture(run: StoredRun, one: RunPicture, score: float) -> model.Picture:
    return model.Picture(
        file=one.file,
        set="Familiar" if one.role == "id" else one.set,
        label=None if one.label is None else gallery.class_name(run, one.label),
        predicted=gallery.class_name(run, one.predicted),
        confidence=one.confidence,
        score=score,
        thumbnail=_data_url(one),
    )


def _data_url(one: RunPicture) -> str | None:
    """A lost picture leaves its words: the report is about scores, which are all there."""
    try:
        small = thumbnail(one.path, THUMBNAIL)
    except GscError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()


def _sets(run: StoredRun) -> Iterable[model.SetTested]:
    roles = {"id": "familiar", "calibration": "familiar, to calibrate"}
    digests = run.provenance.get("image_sets_sha256")
    known = digests if isinstance(digests, dict) else {}
    for name, images in run.images.items():
        yield model.SetTested(
            name=name,
            role=roles.get(name, "strangers"),
            scored=images.scored,
            broken=images.broken,
            duplicates=images.duplicates,
            sha256=known.get(name),
        )
