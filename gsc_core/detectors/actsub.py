"""ActSub: the part of the feature that decides, shaped, and the part that does not, compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from gsc_core.classifier.float64 import double
from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Excused,
    Fit,
    Need,
    Representation,
    knob,
)
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.library import AT_ONCE, LEAST_IMAGES

_LARGEST = 20.0  # exponent of the scale: no image's is near, and e^20 times a logit is finite
_NEAREST = 1e-12  # from a cosine of 1: two images that are the same


@dataclass(eq=False)
class ActSub(Detector):
    """Energy of the decisive part after SCALE, times `−log(1 − cosine)` of the other part.

    The decisive part lies in the first right singular vectors of the last weights, as many as give
    both parts the same mean length on the calibration images. The cosine is the mean of the `k`
    largest to the other parts of calibration images.
    """

    percentile: float = knob(0.85, "share of the features that count as weak", low=0.0, high=0.95)
    k: int = knob(10, "how many nearest neighbours count", low=1)
    power: float = knob(1.0, "how much the comparison weighs", low=0.0, high=4.0)

    name = "actsub"
    title = "ActSub"
    about = "Splits the feature into what decides and what does not, and reads each by itself."
    family = Family.SHAPING
    paper = Paper(
        "Activation Subspaces for Out-of-Distribution Detection",
        "ICCV",
        2025,
        "https://arxiv.org/abs/2508.21695",
    )
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    linear_: Linear | None = field(default=None, init=False, repr=False)
    decisive_: Tensor | None = field(default=None, init=False, repr=False)
    bank_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn where to split, and keep the other parts `[N,D]` of the calibration images."""
        features = double(calibration.require_features(max(self.k, LEAST_IMAGES)))
        self.linear_ = calibration.linear
        directions = self.linear_.directions[:, : features.shape[1] - 1]
        if not directions.shape[1]:
            raise Excused("needs features of at least 2 dimensions; there is 1")
        count = _evenly(features, directions)
        self.decisive_ = directions[:, :count].contiguous()
        self.bank_ = normalize(features - self._decisive(features))
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.bank_ is not None and self.linear_ is not None, "fit() comes first"
        assert batch.features is not None
        features = double(batch.features.detach())
        decisive = self._decisive(features)
        shaped = scaled(decisive, self.percentile).to(batch.features)
        energy = double(self.linear_(shaped).logsumexp(dim=1))
        cosines = normalize(features - decisive) @ self.bank_.T
        nearest = cosines.topk(self.k, dim=1).values.mean(dim=1)
        likeness = -(1 - nearest).clamp(min=_NEAREST).log()
        return -energy * likeness.sign() * likeness.abs().pow(self.power)

    def _decisive(self, features: Tensor) -> Tensor:
        assert self.decisive_ is not None
        return features @ self.decisive_ @ self.decisive_.T


def scaled(features: Tensor, percentile: float) -> Tensor:
    """Features `[B,D]` times `exp(s / s')`: `s` their sum, `s'` that of those above `percentile`.

    As SCALE does it (ICLR 2024, arXiv 2310.00227), bounded where the strongest cancel out.
    """
    dimensions = features.shape[1]
    strong = max(1, dimensions - round(dimensions * percentile))
    of_strongest = features.topk(strong, dim=1).values.sum(dim=1, keepdim=True)
    ratio = features.sum(dim=1, keepdim=True) / of_strongest
    return features * ratio.nan_to_num(nan=0.0).clamp(-_LARGEST, _LARGEST).exp()


def _evenly(features: Tensor, directions: Tensor) -> int:
    """How many of the directions `[D,R]` split features `[N,D]` into parts of the same length."""
    difference = features.new_zeros(directions.shape[1])
    for part in torch.split(features, AT_ONCE):
        within = (part @ directions).square().cumsum(dim=1)
        outside = (part.square().sum(dim=1, keepdim=True) - within).clamp(min=0)
        difference += (within.sqrt() - outside.sqrt()).sum(dim=0)
    return 1 + int(difference.abs().argmin())
