"""Scores of calibration images by detectors that have not learned from them.

A detector that keeps or averages over single images finds just those familiar: a threshold set on
their scores would flag far more of the other familiar images than it promises (with ViM on fewer
images than dimensions: all of them). So each part of the calibration images is scored by a detector
fitted on the other parts: cross-conformal prediction (Vovk 2015, Annals of Mathematics and
Artificial Intelligence 74). It errs on the side of keeping: a fit on fewer images is a worse one.

A surrogate outlier goes with the image it was made from: to a detector that learned from that one
it is more familiar than an unfamiliar image should be.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Excused, Representation
from gsc_core.scoring.faults import checked

PARTS = 5
_AT_ONCE = 512  # images


@dataclass(frozen=True)
class HeldOut:
    """Outlier scores of the calibration images `[N]` and of the surrogates `[S]`, if any."""

    images: Tensor
    surrogates: Tensor | None


def held_out_scores(
    detector: Detector, calibration: Calibration, sources: Tensor | None = None
) -> HeldOut | None:
    """Score each calibration image, and each surrogate, by a detector fitted without the image.

    `sources [S]` tells which calibration image a surrogate was made from; of two that are mixed,
    the first. `detector` reads no more than logits and features, and is left as it is. None when
    some parts are too few to fit it on, or it gives no number.
    """
    everything = calibration.images
    part_of = parts(calibration.labels)
    surrogates = calibration.surrogates if sources is not None else None
    id_scores = torch.empty(len(everything))
    surrogate_scores = None if surrogates is None else torch.empty(len(surrogates))
    for part in range(PARTS):
        held_out = part_of == part
        if not bool(held_out.any()):
            return None
        fresh = type(detector).configured(detector.settings())
        try:
            fresh.fit(calibration.only(~held_out))
        except Excused:
            return None
        id_scores[held_out.cpu()] = _scores(fresh, everything[held_out])
        if surrogates is not None and surrogate_scores is not None and sources is not None:
            made_of_these = held_out[sources]
            surrogate_scores[made_of_these.cpu()] = _scores(fresh, surrogates[made_of_these])
    finite = all(bool(s.isfinite().all()) for s in (id_scores, surrogate_scores) if s is not None)
    return HeldOut(id_scores, surrogate_scores) if finite else None


def _scores(detector: Detector, batch: Representation) -> Tensor:
    chunks = [batch[at : at + _AT_ONCE] for at in range(0, len(batch), _AT_ONCE)]
    scores = [checked(detector.score(chunk), len(chunk)) for chunk in chunks]
    return torch.cat([torch.empty(0), *(part.cpu() for part in scores)])


def parts(labels: Tensor) -> Tensor:
    """Which of the `PARTS` each image belongs to, `[N]`: images of one label are spread evenly."""
    by_label = labels.argsort(stable=True)
    part_of = torch.empty_like(labels)
    part_of[by_label] = torch.arange(len(labels), device=labels.device) % PARTS
    return part_of
