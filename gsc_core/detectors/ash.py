"""Activation shaping: weak features are removed, the rest reshaped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_shaping import Head, Shaping


@dataclass(eq=False)
class ASH(Shaping):
    """Energy after the weak features of each image are removed and the rest reshaped.

    `ash-s` at 0.9 is the paper's best for ImageNet.
    """

    variant: str = knob(
        "ash-s",
        "the rest is kept (p), set to one value (b), or scaled up (s)",
        choices=("ash-p", "ash-b", "ash-s"),
    )
    percentile: float = knob(0.9, "share of the features removed", low=0.0, high=0.95)

    name = "ash"
    title = "ASH"
    about = "Removes the weak features of each image and amplifies the strong ones."
    family = Family.SHAPING
    fails_on = "transformers"
    paper = published(ood.ASH)

    def bind(self, head: Head) -> Any:
        """The library's ASH."""
        return ood.ASH(None, head, variant=self.variant, percentile=self.percentile)
