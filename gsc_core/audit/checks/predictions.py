"""Whether the predictions are those of a classifier at work: several classes, usable logits."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.evaluation.counts import percent
from gsc_core.run.document import ModelCheck

_FEWEST = 20  # images, to say anything of all of them
_NEARLY_ALL, _ALL_BUT_CERTAIN = 0.9, 0.98
_MANY_CLASSES = 10  # of which unlabelled images will not all be one
_FLAT = 0.02  # the usual confidence beyond 1/K, as a share of what is possible
_SURE, _OFTEN_SURE, _OFTEN_WRONG = 0.999, 0.9, 0.3


def one_class(evidence: Evidence) -> ModelCheck | None:
    """Warns where one class is predicted for (nearly) all images, and they are of several."""
    classes = evidence.classifier.num_classes
    n = len(evidence.logits)
    if n < _FEWEST:
        return None
    counts = evidence.logits.argmax(dim=1).bincount(minlength=classes)
    share, index = float(counts.max() / n), int(counts.argmax())
    labelled = evidence.labels[evidence.labels >= 0]
    if len(labelled):
        suspicious = share >= _NEARLY_ALL and float((labelled == index).float().mean()) <= 0.5
        why = "although the labels name several"
    else:
        suspicious = share >= _ALL_BUT_CERTAIN and classes >= _MANY_CLASSES
        why = f"of {classes:,}"
    if not suspicious:
        seen = int((counts > 0).sum())
        return ModelCheck(
            name="one class",
            outcome="fine",
            sentence=f"{seen:,} of {classes:,} classes are predicted, none for nearly all images.",
        )
    return ModelCheck(
        name="one class",
        outcome="warning",
        sentence=f"{_name(evidence, index)} is predicted for {percent(share, 1)} of the "
        f"calibration images, {why}: check the weights and the preprocessing.",
    )


def logits(evidence: Evidence) -> ModelCheck:
    """Warns where logits are not numbers, or the same whatever the image."""
    broken = int((~evidence.logits.isfinite()).any(dim=1).sum())
    n = len(evidence.logits)
    if broken:
        sentence = (
            f"{broken:,} of {n:,} calibration images have logits that are not finite: check the "
            "weights, the precision and the preprocessing."
        )
        return ModelCheck(name="logits", outcome="warning", sentence=sentence)
    scale = float(evidence.logits.abs().max())
    spread = float((evidence.logits - evidence.logits[:1]).abs().max())
    if n > 1 and spread <= 1e-5 * scale:
        sentence = (
            "The logits are the same for every calibration image, so the network does not look at "
            "them: check the weights and the preprocessing."
        )
        return ModelCheck(name="logits", outcome="warning", sentence=sentence)
    sentence = "All logits are finite numbers and depend on the image."
    return ModelCheck(name="logits", outcome="fine", sentence=sentence)


def confidence(evidence: Evidence) -> ModelCheck | None:
    """Warns where the network is never sure of anything, or always sure and often wrong."""
    if not bool(evidence.logits.isfinite().all()) or len(evidence.logits) < _FEWEST:
        return None
    most = evidence.logits.double().softmax(dim=1).amax(dim=1)
    usual, chance = float(most.median()), 1 / evidence.classifier.num_classes
    if (usual - chance) / (1 - chance) < _FLAT:
        sentence = (
            f"The network is never sure: its usual confidence is {percent(usual, 1)}, and "
            f"{percent(chance, 1)} is what a uniform guess gives each class. Perhaps it "
            "gives probabilities instead of logits, or its inputs have the wrong scale."
        )
        return ModelCheck(name="confidence", outcome="warning", sentence=sentence)
    labelled = evidence.labels >= 0
    sure = float((most[labelled] > _SURE).double().mean()) if bool(labelled.any()) else 0.0
    wrong = evidence.logits.argmax(dim=1)[labelled] != evidence.labels[labelled]
    if sure >= _OFTEN_SURE and float(wrong.double().mean()) >= _OFTEN_WRONG:
        sentence = (
            f"The network is all but certain of {percent(sure)} of the labelled calibration "
            f"images and wrong about {percent(float(wrong.double().mean()))}: perhaps its inputs "
            "have the wrong scale, or the labels are in another order."
        )
        return ModelCheck(name="confidence", outcome="warning", sentence=sentence)
    shown = "more than 99.9 %" if 0.9995 <= usual < 1 else percent(usual, 1)
    sentence = f"The usual confidence is {shown}."
    return ModelCheck(name="confidence", outcome="fine", sentence=sentence)


def _name(evidence: Evidence, index: int) -> str:
    names = evidence.classifier.class_names
    return f"Class {index}" if names is None else f"The class {names[index]}"
