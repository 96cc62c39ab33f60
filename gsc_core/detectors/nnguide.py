"""Energy, guided by the nearest calibration features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import Calibration, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published
from gsc_core.detectors.library_features import OnFeatures


@dataclass(eq=False)
class NNGuide(OnFeatures):
    """Energy times the energy-weighted cosine similarity to the k nearest calibration features."""

    k: int = knob(10, "how many nearest neighbours count", low=1)

    name = "nnguide"
    title = "NNGuide"
    about = "The energy, trusted only as far as familiar images with high energy are near."
    family = Family.DISTANCE
    paper = published(ood.NNGuide)

    def bind(self, calibration: Calibration) -> Any:
        """The library's NNGuide."""
        features = calibration.require_features(max(self.k, LEAST_IMAGES))
        bound = ood.NNGuide(None, calibration.linear, k=self.k)
        return bound.fit_features(features, features.new_zeros(len(features)))
