"""Relative Mahalanobis: the distance to a class, less the distance to all of them as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Calibration, Representation
from gsc_core.detectors.library import published
from gsc_core.detectors.mahalanobis import Gaussians, Mahalanobis


@dataclass(eq=False)
class RMD(Mahalanobis):
    """Mahalanobis distance to the nearest class, less the distance to all classes as one."""

    name = "rmd"
    title = "Relative Mahalanobis"
    about = (
        "The Mahalanobis distance to the nearest class, minus that to all familiar images together."
    )
    paper = published(ood.RMD)

    background_: Gaussians | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the classes, and one Gaussian of the same images."""
        features, groups = self._grouped(calibration)
        self.classes_ = Gaussians.of(features, groups, self.shrinkage)
        self.background_ = Gaussians.of(features, torch.zeros_like(groups), self.shrinkage)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64, often negative; higher = more likely OOD."""
        assert self.background_ is not None, "fit() comes first"
        assert batch.features is not None
        return super().score(batch) - self.background_.nearest(self._read(batch.features.detach()))
