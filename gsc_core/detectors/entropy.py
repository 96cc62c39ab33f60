"""The entropy of the softmax."""

from __future__ import annotations

from dataclasses import dataclass

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Detector, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import detached, published


@dataclass(eq=False)
class Entropy(Detector):
    """`−Σ p log p` of the softmax `p`."""

    name = "entropy"
    title = "Entropy"
    about = "How evenly the softmax probability is spread over the classes."
    family = Family.LOGITS
    paper = published(ood.Entropy)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return detached(ood.Entropy.score(batch.logits))
