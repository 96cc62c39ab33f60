"""Variational rectified activations: each feature is clipped to its usual range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import Fit, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_shaping import Head, Shaping


@dataclass(eq=False)
class VRA(Shaping):
    """Energy after each feature is clipped to its own usual range on the calibration images."""

    lower: float = knob(0.01, "percentile below which a feature is lifted", low=0.0, high=0.5)
    upper: float = knob(0.99, "percentile above which a feature is cut off", low=0.5, high=1.0)

    name = "vra"
    title = "VRA"
    about = "Brings unusually strong and unusually weak features back to their usual range."
    family = Family.SHAPING
    fails_on = "transformers"
    paper = published(ood.VRA)
    fitted_with = Fit.IMAGES

    def bind(self, head: Head) -> Any:
        """The library's VRA."""
        return ood.VRA(None, head, lower_percentile=self.lower, upper_percentile=self.upper)
