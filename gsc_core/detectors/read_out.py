"""From what a short-circuit leaves to one score: the mean of several readings.

Which single reading is best depends on the outliers, and surrogate outliers tell it badly. So the
logit that is left of the predicted class and the energy count alike, each with the pooled features
cut off at several levels as ReAct does (NeurIPS 2021, arXiv 2111.12797), since no level suits all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_core.classifier.network import Linear

KEPT = (0.90, 0.95, 0.98)  # share of the calibration images' features under each level
_MIDDLE_THIRDS = torch.tensor([0.16, 0.5, 0.84])  # a standard deviation either side, if normal
_MOST_VALUES = 2**22  # of which a level is taken; of more, every so many images


def levels(features: Tensor) -> tuple[float, ...]:
    """Where to cut off pooled features: so many of all values of `features [N,D]` lie below."""
    some = features[:: 1 + features.numel() // _MOST_VALUES]
    values = some.flatten().sort().values
    return tuple(float(values[min(len(values) - 1, int(kept * len(values)))]) for kept in KEPT)


def readings(
    logits: Tensor,
    features: Tensor | None,
    predicted: Tensor,
    linear: Linear | None,
    cuts: tuple[float, ...],
) -> Tensor:
    """Readings `[B,2+2L]` after a short-circuit, each higher = more likely OOD.

    `logits [B,K]` and `features [B,D]` are what it left, `predicted [B]` the class before it. Two
    readings, residual logit and energy, as the features are, then two for each of the L `cuts`;
    none of these where the network does not end in a linear map.
    """
    left = [logits]
    if linear is not None and features is not None:
        left += [linear(features.clamp(max=cut)) for cut in cuts]
    pairs = ((-y.gather(1, predicted[:, None])[:, 0], -y.logsumexp(dim=1)) for y in left)
    return torch.stack([each for pair in pairs for each in pair], dim=1)


@dataclass(frozen=True)
class Scale:
    """Middle and spread `[R]` of each reading on calibration images."""

    middle: Tensor
    spread: Tensor

    @classmethod
    def of(cls, sample: Tensor) -> Scale:
        """From readings `[N,R]`: the median, and half the distance that 68 % lie within."""
        low, middle, high = sample.quantile(_MIDDLE_THIRDS.to(sample), dim=0)
        return cls(middle, ((high - low) / 2).clamp(min=1e-9))

    def mean(self, readings: Tensor, capped: bool) -> Tensor:
        """One score `[B]` of readings `[B,R]`: with the features cut off, or as they are."""
        standard = (readings - self.middle) / self.spread
        return (standard[:, 2:] if capped else standard[:, :2]).mean(dim=1)
