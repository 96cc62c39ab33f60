"""GradNorm in closed form: the gradient of a linear layer is an outer product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Need, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published


@dataclass(eq=False)
class GradNorm(Detector):
    """L1 norm of the gradient of the last weights, of the cross-entropy to even probabilities.

    The gradient is `(p − 1/K) hᵀ / T`, so its norm is `Σ|p − 1/K| · Σ|h| / T` and needs no backward
    pass. Familiar images have a larger norm: the score is its negative.
    """

    temperature: float = knob(1.0, "divides the logits", low=0.01, high=1000)

    name = "gradnorm"
    title = "GradNorm"
    about = "How strongly the last layer would have to change to make the network undecided."
    family = Family.GRADIENT
    paper = published(ood.GradNorm)
    needs = Need.LOGITS | Need.FEATURES

    def fit(self, calibration: Calibration) -> Self:
        """Nothing to learn; raises Excused when the network does not end in a linear layer."""
        _ = calibration.linear
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert batch.features is not None
        probabilities = (batch.logits / self.temperature).softmax(dim=1)
        from_even = (probabilities - 1 / probabilities.shape[1]).abs().sum(dim=1)
        norm = from_even * batch.features.abs().sum(dim=1) / self.temperature
        return -norm.detach()
