"""Ranked activation shift: every image gets the usual feature values, in the order of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.library import AT_ONCE, LEAST_IMAGES


@dataclass(eq=False)
class RAS(Detector):
    """Energy of a feature whose values are those of the mean sorted feature, by their rank.

    What is left of an image is the order of its features; how strong they are no longer counts.
    Of equal values the first takes the smaller.
    """

    name = "ras"
    title = "RAS"
    about = "Reads the order of the features alone, each with the value that is usual at its rank."
    family = Family.SHAPING
    paper = Paper(
        "Ranked Activation Shift for Post-Hoc Out-of-Distribution Detection",
        "arXiv",
        2026,
        "https://arxiv.org/abs/2604.08572",
    )
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    linear_: Linear | None = field(default=None, init=False, repr=False)
    usual_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the mean sorted feature `[D]`."""
        features = calibration.require_features(LEAST_IMAGES)
        self.linear_ = calibration.linear
        sums = [
            double(part.sort(dim=1).values).sum(dim=0) for part in torch.split(features, AT_ONCE)
        ]
        self.usual_ = (torch.stack(sums).sum(dim=0) / len(features)).to(features)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.usual_ is not None and self.linear_ is not None, "fit() comes first"
        assert batch.features is not None
        features = batch.features.detach()
        order = features.argsort(dim=1, stable=True)
        shaped = torch.zeros_like(features).scatter(1, order, self.usual_.expand_as(features))
        return -self.linear_(shaped).logsumexp(dim=1)
