"""What detectors of pytorch-ood share that compare features with those of calibration images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.library import settled


@dataclass(eq=False)
class OnFeatures(Detector):
    """Binds one of the library's feature detectors, fitted on the calibration features."""

    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    bound_: Any = field(default=None, init=False, repr=False)

    @abstractmethod
    def bind(self, calibration: Calibration) -> Any:
        """The library's detector with this one's knobs, fitted; raises Excused."""

    def fit(self, calibration: Calibration) -> Self:
        """Fit the library's detector on the calibration features."""
        self.bound_ = settled(self.bind(calibration), calibration.network.device)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.bound_ is not None, "fit() comes first"
        assert batch.features is not None
        scores: Tensor = self.bound_.predict_features(batch.features)
        return scores.detach()
