"""Generalised entropy of the most probable classes."""

from __future__ import annotations

from dataclasses import dataclass

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.base import Detector, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import detached, published


@dataclass(eq=False)
class GEN(Detector):
    """Generalised entropy: the mean of `p^γ (1−p)^γ` over the most probable classes.

    γ = 0.1 and 100 classes are the paper's choice for ImageNet. In float32 `1 − p` of a sure answer
    is rounding and no more, and its tenth root is large: another runtime would score otherwise.
    """

    gamma: float = knob(0.1, "smaller = more weight on small probabilities", low=0.01, high=10)
    top: int = knob(100, "how many of the most probable classes count", low=2)
    precision: str = knob(
        "float64",
        "in which 1 − p is computed; float32: as in earlier versions",
        choices=("float64", "float32"),
        former="float32",
    )

    name = "gen"
    title = "GEN"
    about = "A generalised entropy of the most probable classes, sensitive to small doubts."
    family = Family.LOGITS
    paper = published(ood.GEN)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        logits = double(batch.logits) if self.precision == "float64" else batch.logits
        return detached(ood.GEN.score(logits, gamma=self.gamma, M=self.top))
