"""What detectors of pytorch-ood share that reshape features and take the energy of new logits.

The library reads feature maps; the features `[B,D]` go in as `[B,D,1,1]`, with the last linear map
as the head. Every paper here shapes the features after pooling.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration, Detector, Need, Representation
from gsc_core.detectors.library import LEAST_IMAGES, settled

Head = Callable[[Tensor], Tensor]

_LIMIT = 1e18  # beyond any feature, and its logits are still finite in float32


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


def _maps(features: Tensor) -> Tensor:
    return features[:, :, None, None]


def _head(linear: Linear) -> Head:
    """The last linear map on shaped features.

    ASH and SCALE divide by the sum of the strongest features: 0/0 where an image has none (its
    features stay zero), and beyond any number where features of both signs cancel.
    """

    def head(maps: Tensor) -> Tensor:
        return linear(maps.flatten(1).nan_to_num(nan=0.0).clamp(-_LIMIT, _LIMIT))

    return head
