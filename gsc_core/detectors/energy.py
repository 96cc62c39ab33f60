"""The energy: log-sum-exp of the logits."""

from __future__ import annotations

from dataclasses import dataclass

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Detector, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import detached, published


@dataclass(eq=False)
class Energy(Detector):
    """`−T log Σ exp(y / T)`."""

    temperature: float = knob(1.0, "divides the logits", low=0.01, high=1000)

    name = "energy"
    title = "Energy"
    about = "All logits together, by their log-sum-exp: low when no class is recognised."
    family = Family.LOGITS
    paper = published(ood.EnergyBased)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return detached(ood.EnergyBased.score(batch.logits, t=self.temperature))
