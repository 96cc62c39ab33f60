"""Optimal feature shaping: each range of feature values counts by how much it helps predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.library import AT_ONCE, LEAST_IMAGES

BINS = 100
_OUTER = 0.001  # share of all feature values below the first bin, and above the last
_NORM = 1000.0
_MAX_VALUES = 2**24  # of which the quantiles are taken; of more, every so many images


@dataclass(eq=False)
class OptFS(Detector):
    """Energy after each feature value is multiplied by the weight of the range it lies in.

    Between the 0.1 % and the 99.9 % quantile of all calibration values lie 100 equal ranges. The
    weight of one is the mean, over calibration images, of what its values contribute to the
    predicted logit; all weights together have the length 1,000. Values outside become 0.
    """

    name = "optfs"
    title = "OptFS"
    about = "Weighs each range of feature values by what it contributes to familiar predictions."
    family = Family.SHAPING
    paper = Paper(
        "Towards Optimal Feature-Shaping Methods for Out-of-Distribution Detection",
        "ICLR",
        2024,
        "https://arxiv.org/abs/2402.00865",
    )
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    linear_: Linear | None = field(default=None, init=False, repr=False)
    low_: float = field(default=0.0, init=False, repr=False)
    width_: float = field(default=1.0, init=False, repr=False)
    weights_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the ranges and their weights, which end in a 0 for what lies outside."""
        features = calibration.require_features(LEAST_IMAGES)
        self.linear_ = calibration.linear
        self.low_, high = _outer_quantiles(features)
        self.width_ = (high - self.low_) / BINS
        if not self.width_ > 0:
            raise Excused("the features of the calibration images do not vary")
        sums = self._contributions(features, calibration.logits.argmax(dim=1))
        if not float(sums.norm()) > 0:
            raise Excused("the features of the calibration images contribute nothing to the logits")
        self.weights_ = _NORM * sums / sums.norm()
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.weights_ is not None and self.linear_ is not None, "fit() comes first"
        assert batch.features is not None
        features = double(batch.features.detach())
        shaped = features * self.weights_[self._bins(features)]
        return -self.linear_(shaped.to(batch.features)).logsumexp(dim=1)

    def _contributions(self, features: Tensor, predicted: Tensor) -> Tensor:
        """What each range adds to the predicted logits, summed over images; 0 of the outside."""
        assert self.linear_ is not None
        weight = double(self.linear_.weight)
        sums = weight.new_zeros(BINS + 1)
        parts = zip(torch.split(features, AT_ONCE), torch.split(predicted, AT_ONCE), strict=True)
        for part, classes in parts:
            values = double(part)
            added = values * weight[classes.to(weight.device)]
            sums = sums.index_add(0, self._bins(values).flatten(), added.flatten())
        sums[BINS] = 0
        return sums

    def _bins(self, features: Tensor) -> Tensor:
        """In which range each value lies, 0 to 99, the last with its end; 100 is outside."""
        at = (features - self.low_) / self.width_
        within = (at >= 0) & (at <= BINS)
        return torch.where(within, at.floor().clamp(0, BINS - 1), float(BINS)).long()


def _outer_quantiles(features: Tensor) -> tuple[float, float]:
    """The quantiles of all values that enclose the ranges, interpolated as NumPy does it."""
    some = features[:: 1 + features.numel() // _MAX_VALUES]
    values = double(some).flatten().sort().values
    at = _OUTER * (len(values) - 1)
    below, part = int(at), at - int(at)
    ends = (values[below : below + 2], values.flip(0)[below : below + 2])
    low, high = (float(torch.lerp(end[0], end[-1], part)) for end in ends)
    return low, high
