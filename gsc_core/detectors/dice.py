"""DICE as a matrix product: the last linear map with its unimportant weights removed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published


@dataclass(eq=False)
class DICE(Detector):
    """Energy of the logits when only the weights that contribute most to the classes are kept.

    A weight's contribution is itself times the mean of its feature. The paper removes 0.7 for
    ImageNet.
    """

    p: float = knob(0.7, "share of the weights removed", low=0.0, high=0.99)

    name = "dice"
    title = "DICE"
    about = "Uses only the weights that matter for the familiar classes, and takes the energy."
    family = Family.SHAPING
    paper = published(ood.DICE)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    sparse_: Linear | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Find the weights `[K,D]` to keep from the mean calibration feature."""
        linear = calibration.linear
        contribution = calibration.require_features(LEAST_IMAGES).mean(dim=0) * linear.weight
        # the library keeps what is above the interpolated quantile: above the value just below it
        at = math.floor(self.p * (contribution.numel() - 1)) + 1
        threshold = contribution.flatten().kthvalue(at).values
        self.sparse_ = Linear(linear.weight * (contribution > threshold), linear.bias)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.sparse_ is not None, "fit() comes first"
        assert batch.features is not None
        return -self.sparse_(batch.features).logsumexp(dim=1).detach()
