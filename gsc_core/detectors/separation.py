"""How well a score parts two sets, where a detector has to know while it is fitted."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Separation(NamedTuple):
    """FPR95 and AUROC, both 0 to 1; the first is better low, the second high."""

    fpr95: float
    auroc: float

    @property
    def loss(self) -> float:
        """Both in one figure, lower is better: 0 is perfect, above 1.45 is worse than chance."""
        return self.fpr95 + 1 - self.auroc


def separation(ours: Tensor, theirs: Tensor) -> Separation:
    """How well outlier scores of familiar images `[N]` lie below those of strangers `[M]`.

    FPR95 is the share of strangers at or below the threshold that keeps 95 % of the familiar
    images, AUROC the Mann-Whitney share of pairs in order, ties half.
    """
    known, strangers = ours.double().sort().values, theirs.double()
    below = torch.searchsorted(known, strangers, right=False)
    up_to = torch.searchsorted(known, strangers, right=True)
    auroc = (below + up_to).double().mean() / (2 * len(known))
    threshold = known[math.ceil(0.95 * len(known)) - 1]
    return Separation(float((strangers <= threshold).double().mean()), float(auroc))
