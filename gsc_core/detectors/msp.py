"""Maximum softmax probability, in log space: confident images do not tie at 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Detector, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published


def doubt(logits: Tensor) -> Tensor:
    """`−log max softmax` `[B]` of logits `[B,K]`, exact also where the maximum rounds to 1.

    With `r` the log-sum-exp of all logits but the largest, less the largest, it is `log(1 + e^r)`.
    """
    top, index = logits.max(dim=1, keepdim=True)
    rest = (logits - top).scatter(1, index, -torch.inf)
    return torch.nn.functional.softplus(rest.logsumexp(dim=1))


@dataclass(eq=False)
class MSP(Detector):
    """`−log max softmax`; the same order as the library's, and finer."""

    name = "msp"
    title = "Max softmax"
    about = "The probability of the predicted class: the baseline that every method must beat."
    family = Family.LOGITS
    paper = published(ood.MaxSoftmax)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return doubt(batch.logits).detach()
