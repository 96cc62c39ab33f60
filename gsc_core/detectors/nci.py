"""Neural collapse: whether the feature points along the predicted class's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published
from gsc_core.detectors.library_features import OnFeatures


@dataclass(eq=False)
class NCI(OnFeatures):
    """How far the feature, seen from the mean feature, points along the predicted class's weights.

    `alpha` also rewards features far from the origin.
    """

    alpha: float = knob(0.0, "weight of the feature's size", low=0.0, high=10)

    name = "nci"
    title = "NCI"
    about = "Whether the feature points where the predicted class says it should."
    family = Family.BOUNDARY
    paper = published(ood.NCI)

    def bind(self, calibration: Calibration) -> Any:
        """The library's NCI."""
        features = calibration.require_features(LEAST_IMAGES)
        return ood.NCI(None, _module(calibration.linear), self.alpha).fit_features(features)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; a feature at the mean points nowhere (0/0) and agrees by 0."""
        scores = super().score(batch)
        assert batch.features is not None
        centred = batch.features == self.bound_.global_mean
        nowhere = -self.alpha * batch.features.abs().sum(dim=1)
        return torch.where(centred.all(dim=1), nowhere, scores).detach()


def _module(linear: Linear) -> torch.nn.Linear:
    """The last linear map as the module that the library wants to copy."""
    classes, dimensions = linear.weight.shape
    module = torch.nn.Linear(dimensions, classes, device="meta")
    module.weight = torch.nn.Parameter(linear.weight, requires_grad=False)
    module.bias = torch.nn.Parameter(linear.bias, requires_grad=False)
    return module
