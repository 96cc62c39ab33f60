"""Detectors bound from pytorch-ood that reshape the features and take the energy of new logits.

The library reads feature maps; the features `[B,D]` go in as `[B,D,1,1]`, with the last linear map
as the head. Every paper here shapes the features after pooling.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation, knob
from gsc_core.detectors.library import LEAST_IMAGES, published, settled

Head = Callable[[Tensor], Tensor]

_FAR = 1e18  # beyond any feature, and its logits are still finite in float32


@dataclass(eq=False)
class Shaping(Detector):
    """Binds one of the library's feature-map detectors to the last linear map."""

    needs = Need.LOGITS | Need.FEATURES

    bound_: Any = field(default=None, init=False, repr=False)

    @abstractmethod
    def bind(self, head: Head) -> Any:
        """The library's detector with this one's knobs."""

    def fit(self, calibration: Calibration) -> Self:
        """Take the last linear map, and learn what the detector learns from the features."""
        bound = self.bind(_head(calibration.linear))
        if self.fitted_with:
            features = calibration.require_features(LEAST_IMAGES)
            bound.fit_feature_maps(_maps(features), torch.zeros(len(features)))
        self.bound_ = settled(bound, calibration.network.device)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.bound_ is not None, "fit() comes first"
        assert batch.features is not None
        scores: Tensor = self.bound_.predict_feature_maps(_maps(batch.features))
        return scores.detach()


@dataclass(eq=False)
class ReAct(Shaping):
    """Energy after all features are cut off at one percentile of the calibration features.

    The paper uses 0.9 for ImageNet with ResNet-50; 0.95 was the better of the two on EfficientNet.
    """

    percentile: float = knob(0.95, "share of the features left as they are", low=0.0, high=1.0)

    name = "react"
    title = "ReAct"
    about = "Cuts off unusually strong features, which strange pictures often have."
    paper = published(ood.ReAct)
    fitted_with = Fit.IMAGES

    def bind(self, head: Head) -> Any:
        """The library's ReAct."""
        return ood.ReAct(None, head, percentile=self.percentile)


@dataclass(eq=False)
class VRA(Shaping):
    """Energy after each feature is clipped to its own usual range on the calibration images."""

    lower: float = knob(0.01, "percentile below which a feature is lifted", low=0.0, high=0.5)
    upper: float = knob(0.99, "percentile above which a feature is cut off", low=0.5, high=1.0)

    name = "vra"
    title = "VRA"
    about = "Brings unusually strong and unusually weak features back to their usual range."
    paper = published(ood.VRA)
    fitted_with = Fit.IMAGES

    def bind(self, head: Head) -> Any:
        """The library's VRA."""
        return ood.VRA(None, head, lower_percentile=self.lower, upper_percentile=self.upper)


@dataclass(eq=False)
class ASH(Shaping):
    """Energy after the weak features of each image are removed and the rest reshaped.

    `ash-s` at 0.9 is the paper's best for ImageNet.
    """

    variant: str = knob(
        "ash-s",
        "the rest is kept (p), set to one value (b), or scaled up (s)",
        choices=("ash-p", "ash-b", "ash-s"),
    )
    percentile: float = knob(0.9, "share of the features removed", low=0.0, high=0.95)

    name = "ash"
    title = "ASH"
    about = "Removes the weak features of each image and amplifies the strong ones."
    paper = published(ood.ASH)

    def bind(self, head: Head) -> Any:
        """The library's ASH."""
        return ood.ASH(None, head, variant=self.variant, percentile=self.percentile)


@dataclass(eq=False)
class SCALE(Shaping):
    """Energy after the features are scaled by how much of their sum the strongest hold.

    The paper uses 0.85 for ImageNet.
    """

    percentile: float = knob(0.85, "share of the features that count as weak", low=0.0, high=0.95)

    name = "scale"
    title = "SCALE"
    about = "Amplifies an image by how little its strongest features stand out of the rest."
    paper = published(ood.SCALE)

    def bind(self, head: Head) -> Any:
        """The library's SCALE."""
        return ood.SCALE(None, head, percentile=self.percentile)


def _maps(features: Tensor) -> Tensor:
    return features[:, :, None, None]


def _head(linear: Linear) -> Head:
    """The last linear map on shaped features.

    ASH and SCALE divide by the sum of the strongest features: 0/0 where an image has none (its
    features stay zero), and beyond any number where features of both signs cancel.
    """

    def head(maps: Tensor) -> Tensor:
        return linear(maps.flatten(1).nan_to_num(nan=0.0).clamp(-_FAR, _FAR))

    return head
