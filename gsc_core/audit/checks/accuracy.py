"""Whether the classifier is better than chance on images of the kind it was made for."""

from __future__ import annotations

from gsc_core.audit.checks.base import Evidence
from gsc_core.evaluation.counts import percent
from gsc_core.run.document import ModelCheck


def accuracy(evidence: Evidence) -> ModelCheck | None:
    """Warns where no more labelled images are classified correctly than by chance."""
    labelled = evidence.labels >= 0
    n = int(labelled.sum())
    if n == 0:
        return None
    right = int((evidence.logits.argmax(dim=1)[labelled] == evidence.labels[labelled]).sum())
    chance = 1 / evidence.classifier.num_classes
    said = (
        f"{right:,} of {n:,} calibration images are classified correctly ({percent(right / n, 1)})"
    )
    if right / n > chance:
        return ModelCheck(name="accuracy", outcome="fine", sentence=f"{said}.")
    return ModelCheck(
        name="accuracy",
        outcome="warning",
        sentence=f"{said}, no better than chance ({percent(chance, 1)}): check the labels, the "
        "order of the classes, the weights and the preprocessing.",
    )
