"""NECO: how much of the feature lies in the directions that familiar images use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.principal import principal
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation, knob
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.library import LEAST_IMAGES, constant


@dataclass(eq=False)
class NECO(Detector):
    """The part of the feature's length in the principal subspace, times the largest logit.

    Features are standardised first. Where classes have collapsed, familiar ones lie in few
    directions and others orthogonal to them.
    """

    variance: float = knob(
        0.9, "share of the variance that the principal subspace holds", low=0.01, high=1.0
    )

    name = "neco"
    title = "NECO"
    about = "How much of the feature lies in the directions that familiar images use."
    family = Family.DISTANCE
    paper = Paper(
        "NECO: NEural Collapse Based Out-of-distribution detection",
        "ICLR",
        2024,
        "https://arxiv.org/abs/2310.06823",
    )
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    mean_: Tensor | None = field(default=None, init=False, repr=False)
    spread_: Tensor | None = field(default=None, init=False, repr=False)
    principal_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn mean and spread `[D]` of each feature, and the principal subspace `[D,d]`."""
        features = double(calibration.require_features(LEAST_IMAGES))
        self.mean_ = features.mean(dim=0)
        spread = features.std(dim=0, correction=0)
        self.spread_ = torch.where(constant(features), 1.0, spread)
        lengths, directions = principal((features - self.mean_) / self.spread_)
        held = lengths.flip(0).square().cumsum(dim=0)
        d = 1 + int((held[:-1] < self.variance * held[-1]).sum())
        self.principal_ = directions[:, -d:].contiguous()
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.principal_ is not None, "fit() comes first"
        assert self.mean_ is not None and self.spread_ is not None
        assert batch.features is not None
        standard = (double(batch.features.detach()) - self.mean_) / self.spread_
        length = standard.norm(dim=1).clamp(min=1e-12)
        part: Tensor = (standard @ self.principal_).norm(dim=1) / length
        return -part * double(batch.logits.detach()).amax(dim=1)
