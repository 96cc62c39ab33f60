"""From a stored run and a decision to the report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import ValidationError

from gsc_core.classifier.preparation import preparation
from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.evaluation.histogram import ScoreAxis
from gsc_core.evaluation.metrics import Floats, curve, metrics
from gsc_core.evaluation.selective import FEWEST
from gsc_core.evaluation.thresholds import Effect
from gsc_core.release.judge import judge
from gsc_core.report import model
from gsc_core.report.confidence import confidence_part, errors_part
from gsc_core.report.counted import by_set, counted, detector_rows
from gsc_core.report.glossary import GLOSSARY
from gsc_core.report.limits import limits_of
from gsc_core.report.marked import revised_part
from gsc_core.report.pictures import channels_note, groups_of
from gsc_core.run import decisions
from gsc_core.run.decisions import ClassEffect, Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.checks import checks_of
from gsc_core.sentences.decision import picked_sentence
from gsc_core.sentences.detector_names import about, called, title_of
from gsc_core.sentences.run import subject, too_few, two_counts
from gsc_core.sentences.selection import choice_sentences
from gsc_core.sentences.threshold import (
    basis_sentence,
    familiar_sentence,
    shortage,
    strangers_sentence,
    stray_sentence,
)
from gsc_core.sentences.warnings import extreme, rough
from gsc_core.workspace import release_policy, runs

BINS = 60
MAX_DRAWN = 12  # sets in the charts; the tables name all
MAX_CLASSES = 20
CURVE_POINTS = 160
PLACES = ("model", "id", "ood", "calibration")  # settings that name folders of this machine


def report_of(run: Run, decision: Decision, *, images: bool = True) -> model.Report:
    """Everything the report says; `images` False leaves thumbnails and file names out.

    Raises GscError when the run's scores are missing or damaged, or the release policy is.
    """
    scores = decisions.tested_scores(run, decision.detector, decisions.part_of(decision))
    known = scores.pop("id")
    found = decisions.effect_of(run, decision)
    drawn = dict(list(scores.items())[:MAX_DRAWN])
    gate = _gate(run, decision)
    classes = [one for one in decisions.effect_by_class(run, decision) if one.ood is not None]
    return model.Report(
        run=run.id,
        title=_title(run),
        subject=subject(run),
        made=datetime.now(UTC).replace(microsecond=0),
        verdict=two_counts(found),
        limits=limits_of(run, decision, found, gated=gate is not None),
        gate=gate,
        checks=tuple(model.Checked(**check.model_dump()) for check in checks_of(run)),
        prepared=_prepared(run),
        decision=_decided(run, decision, found),
        without_marked=revised_part(run, images=images),
        by_set=tuple(by_set(run, decision)),
        classes=tuple(_class_row(one) for one in classes[:MAX_CLASSES]),
        classes_more=max(0, len(classes) - MAX_CLASSES),
        refusing=_refusing(run, decision),
        confidence=confidence_part(run),
        errors=errors_part(run, decision),
        accuracy=run.id_accuracy,
        accuracy_after=run.id_accuracy_after,
        detectors=tuple(detector_rows(run)),
        names=_names(run, decision),
        own_choices=tuple(_own_choices(run)),
        excused=run.excused,
        histogram=_histogram(known, drawn),
        roc=tuple(_roc(known, name, strange) for name, strange in drawn.items()),
        pictures=tuple(groups_of(run, decision)) if images else (),
        images_left_out=not images,
        channels_note=channels_note(run, decision) if images else None,
        sets=tuple(_sets(run)),
        settings=_settings(run),
        provenance=run.provenance.recorded(),
        glossary=GLOSSARY,
    )


def _prepared(run: Run) -> str | None:
    """How images were prepared; runs of the first versions do not say."""
    recorded = run.settings.preprocessing.recorded()
    if not {"resize", "crop", "mean", "std"} <= recorded.keys():
        return None
    try:
        return preparation(Preprocessing.model_validate(recorded))
    except ValidationError:
        return None


def _title(run: Run) -> str:
    """The title a person gave it; an audit's folder outside the workspace has only its name."""
    return runs.title(run.id) if runs.is_in_workspace(run) else run.id


def _settings(run: Run) -> dict[str, Any]:
    """How it was run, without folders of this machine: digests say what was used."""
    return {name: each for name, each in run.settings.recorded().items() if name not in PLACES}


def _gate(run: Run, decision: Decision) -> model.Gate | None:
    """What the workspace's release policy says; None where no limits were agreed."""
    policy = release_policy.current()
    if policy is None:
        return None
    verdict = judge(run, decision, policy)
    rules = tuple(
        model.GateRule(
            title=rule.title,
            limit=rule.limit,
            figure=rule.figure,
            outcome=rule.outcome.value,
            because=rule.because,
        )
        for rule in verdict.rules
    )
    return model.Gate(
        outcome=verdict.outcome.value,
        sentence=verdict.sentence,
        headline=verdict.headline,
        reasons=verdict.reasons,
        rules=rules,
    )


def _decided(run: Run, decision: Decision, found: Effect) -> model.Decided:
    calibration = len(run.calibration_scores(decision.detector))
    none = shortage(decision.rule, calibration) or extreme(decision)
    warnings = (none or rough(run, decision), too_few(found))
    sentences = [familiar_sentence(found), strangers_sentence(found)]
    if none is None:
        sentences.append(basis_sentence(run, decision, found))
        sentences += filter(None, [stray_sentence(run, decision)])
    if picked := picked_sentence(run, decision):
        sentences.append(picked)
    sentences += decision.rule.outcomes(found)
    return model.Decided(
        detector=decision.detector,
        title=title_of(run, decision.detector),
        about=about(run, decision.detector),
        rule=decision.rule.words(),
        value=decision.value,
        chosen=decision.chosen,
        halved=decision.halved,
        picked=decision.picked,
        note=decision.note,
        calibration=calibration,
        familiar=counted("Familiar images", found.id),
        strangers=tuple(counted(name, one) for name, one in found.ood.items()),
        strangers_share=found.ood_share,
        sentences=tuple(sentences),
        warning=" ".join(filter(None, warnings)) or None,
    )


def _class_row(one: ClassEffect) -> model.ClassRow:
    familiar, strangers = (
        None if found is None else counted(name, found)
        for name, found in (("Familiar images", one.id), ("Unfamiliar images", one.ood))
    )
    return model.ClassRow(name=one.name, familiar=familiar, strangers=strangers)


def _refusing(run: Run, decision: Decision) -> model.Refusing | None:
    """What refusing flagged images gains; None without labels, and for too few images."""
    found = decisions.selective_of(run, decision)
    if found is None or found.total < FEWEST:
        return None
    points = zip(
        np.round(found.coverage, 4).tolist(), np.round(found.risk, 4).tolist(), strict=True
    )
    return model.Refusing(
        accuracy=found.accuracy,
        accuracy_passing=found.passing,
        low=found.low,
        high=found.high,
        kept=found.accepted,
        area=found.area,
        points=tuple(points),
    )


def _names(run: Run, decision: Decision) -> dict[str, str]:
    """What every detector that the report may name is called."""
    recorded = [record.name for record in run.document.detectors]
    names = dict.fromkeys([*run.detectors, *run.excused, *recorded, decision.detector])
    return {name: called(run, name) for name in names}


def _own_choices(run: Run) -> Iterable[str]:
    """How detectors tuned themselves, and that no unfamiliar image was seen."""
    chosen = choice_sentences(run)
    if chosen:
        yield (
            "Some detectors tune themselves, on familiar calibration images and on surrogate "
            "images made from them; no unfamiliar image was seen for this."
        )
        yield from chosen


def _histogram(known: Floats, strangers: dict[str, Floats]) -> model.Histogram:
    axis = ScoreAxis.of([known, *strangers.values()], BINS)
    low, high = axis.score(axis.edges[[0, -1]])
    return model.Histogram(
        low=float(low),
        high=float(high),
        familiar=_bars("Familiar images", known, axis),
        strangers=tuple(_bars(name, scores, axis) for name, scores in strangers.items()),
        scale="log-odds" if axis.by_log_odds else "linear",
    )


def _bars(name: str, scores: Floats, axis: ScoreAxis) -> model.Bars:
    heights = axis.shares(scores)
    return model.Bars(name=name, shares=tuple(round(float(share), 5) for share in heights))


def _roc(known: Floats, name: str, strange: Floats) -> model.RocLine:
    found = curve(known, strange, CURVE_POINTS)
    x, y = (np.round(values, 4).tolist() for values in (found.fpr, found.tpr))
    auroc = metrics(known, strange).auroc
    return model.RocLine(name=name, auroc=auroc, points=tuple(zip(x, y, strict=True)))


def _sets(run: Run) -> Iterable[model.SetTested]:
    ours = {
        "id": ("Familiar images", "the test"),
        "calibration": ("Calibration images", "fitting the detectors, setting the threshold"),
    }
    for name, images in run.images.items():
        words, use = ours.get(name, (name, "the test, as unfamiliar images"))
        yield model.SetTested(
            name=words,
            role=use,
            scored=images.scored,
            broken=images.broken,
            duplicates=images.duplicates,
            sha256=run.provenance.image_sets_sha256.get(name),
        )
