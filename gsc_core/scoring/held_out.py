"""Scores of calibration images by detectors that have not learned from them.

A detector that keeps or averages over single images finds just those familiar: a threshold set on
their scores would flag far more of the other familiar images than it promises (with ViM on fewer
images than dimensions: all of them). So each part of the calibration images is scored by a detector
fitted on the other parts: cross-conformal prediction (Vovk 2015, Annals of Mathematics and
Artificial Intelligence 74). It errs on the side of keeping: a fit on fewer images is a worse one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Excused, Representation

PARTS = 5
_AT_ONCE = 512  # images


def held_out_scores(detector: Detector, calibration: Calibration) -> Tensor | None:
    """Outlier scores `[N]` of the calibration images, each by a detector fitted without it.

    `detector` reads no more than logits and features, and is left as it is. None when some parts
    are too few to fit it on, or it gives no number.
    """
    everything = Representation(calibration.logits, calibration.features)
    part_of = parts(calibration.labels)
    scores = torch.empty(len(everything))
    for part in range(PARTS):
        apart = part_of == part
        if not bool(apart.any()):
            return None
        fresh = type(detector).configured(detector.settings())
        try:
            fresh.fit(_only(calibration, ~apart))
        except Excused:
            return None
        unseen = everything[apart]
        chunks = [unseen[at : at + _AT_ONCE] for at in range(0, len(unseen), _AT_ONCE)]
        scores[apart.cpu()] = torch.cat([fresh.score(chunk) for chunk in chunks]).float().cpu()
    return scores if bool(scores.isfinite().all()) else None


def parts(labels: Tensor) -> Tensor:
    """Which of the `PARTS` each image belongs to, `[N]`: images of one label are spread evenly."""
    by_label = labels.argsort(stable=True)
    part_of = torch.empty_like(labels)
    part_of[by_label] = torch.arange(len(labels), device=labels.device) % PARTS
    return part_of


def _only(calibration: Calibration, keep: Tensor) -> Calibration:
    features = calibration.features
    return replace(
        calibration,
        logits=calibration.logits[keep],
        features=None if features is None else features[keep],
        labels=calibration.labels[keep],
    )
