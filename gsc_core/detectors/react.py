"""Rectified activations: strong features are cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import Fit, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_shaping import Head, Shaping


@dataclass(eq=False)
class ReAct(Shaping):
    """Energy after all features are cut off at one percentile of the calibration features.

    The paper uses 0.9 for ImageNet with ResNet-50; 0.95 was the better of the two on EfficientNet.
    """

    percentile: float = knob(0.95, "share of the features left as they are", low=0.0, high=1.0)

    name = "react"
    title = "ReAct"
    about = "Cuts off unusually strong features, which unfamiliar images often have."
    family = Family.SHAPING
    fails_on = "transformers"
    paper = published(ood.ReAct)
    fitted_with = Fit.IMAGES

    def bind(self, head: Head) -> Any:
        """The library's ReAct."""
        return ood.ReAct(None, head, percentile=self.percentile)
