"""CADRef: how far the feature is from its class, with and against the class's weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Excused,
    Fit,
    Need,
    Representation,
    knob,
)
from gsc_core.detectors.class_means import class_means
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.library import LEAST_IMAGES

_GAMMA, _LEAST_CLASSES = 0.1, 10  # of the generalised entropy, as in CADRef's paper
_LEAST_CONFIDENCE = 1e-3  # of the mean: from there on it no longer divides


@dataclass(eq=False)
class CADRef(Detector):
    """Relative distance from the mean of the predicted class, split by the signs of its weights.

    With `r` the difference, `e⁺` is the sum of `r · sign w` where that is positive, over the sum of
    all |features|, and `e⁻` the same with the other sign. The score is `e⁺ / L + e⁻ / mean L`; `L`
    is the confidence of the logits, by the inverse generalised entropy or the energy. A class that
    is never predicted on calibration images has the mean of all of them.
    """

    confidence: str = knob(
        "entropy",
        "which confidence in the logits divides the distance",
        choices=("entropy", "energy"),
    )

    name = "cadref"
    title = "CADRef"
    about = "How far the feature is from the usual one of its class, weighted by the confidence."
    family = Family.DISTANCE
    paper = Paper(
        "CADRef: Robust Out-of-Distribution Detection via Class-Aware Decoupled Relative Feature "
        "Leveraging",
        "CVPR",
        2025,
        "https://arxiv.org/abs/2503.00325",
    )
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    signs_: Tensor | None = field(default=None, init=False, repr=False)
    means_: Tensor | None = field(default=None, init=False, repr=False)
    usual_: float = field(default=1.0, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the mean feature of each predicted class `[K,D]` and the mean confidence."""
        features = double(calibration.require_features(LEAST_IMAGES))
        logits = double(calibration.logits)
        self.signs_ = double(calibration.linear.weight).sign()
        self.means_, _ = class_means(features, logits.argmax(dim=1), logits.shape[1])
        self.usual_ = float(self._confidence(logits).mean())
        if not self.usual_ > 0:
            raise Excused("the energies are not positive on average, so they divide nothing")
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.means_ is not None and self.signs_ is not None, "fit() comes first"
        assert batch.features is not None
        features, logits = double(batch.features.detach()), double(batch.logits.detach())
        predicted = logits.argmax(dim=1)
        along = (features - self.means_[predicted]) * self.signs_[predicted]
        size = features.abs().sum(dim=1).clamp(min=1e-12)
        confidence = self._confidence(logits).clamp(min=_LEAST_CONFIDENCE * self.usual_)
        with_, against = along.clamp(min=0).sum(dim=1), (-along).clamp(min=0).sum(dim=1)
        return with_ / size / confidence + against / size / self.usual_

    def _confidence(self, logits: Tensor) -> Tensor:
        if self.confidence == "energy":
            return logits.logsumexp(dim=1)
        classes = logits.shape[1]
        top = min(classes, max(_LEAST_CLASSES, classes // 10))
        p = logits.softmax(dim=1).topk(top, dim=1).values
        return 1 / (p * (1 - p)).pow(_GAMMA).sum(dim=1).clamp(min=1e-12)
