"""Features scaled by how much of their sum the strongest hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_shaping import Head, Shaping


@dataclass(eq=False)
class SCALE(Shaping):
    """Energy after the features are scaled by how much of their sum the strongest hold.

    The paper uses 0.85 for ImageNet.
    """

    percentile: float = knob(0.85, "share of the features that count as weak", low=0.0, high=0.95)

    name = "scale"
    title = "SCALE"
    about = "Amplifies an image by how little its strongest features stand out from the rest."
    family = Family.SHAPING
    fails_on = "transformers"
    paper = published(ood.SCALE)

    def bind(self, head: Head) -> Any:
        """The library's SCALE."""
        return ood.SCALE(None, head, percentile=self.percentile)
