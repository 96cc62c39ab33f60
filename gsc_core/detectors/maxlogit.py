"""The largest logit."""

from __future__ import annotations

from dataclasses import dataclass

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Detector, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import detached, published


@dataclass(eq=False)
class MaxLogit(Detector):
    """`−max y`."""

    name = "maxlogit"
    title = "Max logit"
    about = "The largest logit: a low one means that no class is recognised."
    family = Family.LOGITS
    paper = published(ood.MaxLogit)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return detached(ood.MaxLogit.score(batch.logits))
