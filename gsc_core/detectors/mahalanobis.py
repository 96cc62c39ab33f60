"""Distance to the nearest class mean, in the shape that all classes share.

The covariance comes from fewer images than the features have dimensions more often than not, so it
is shrunk (Ledoit and Wolf 2004) and everything is float64. Whitening makes all distances Euclidean
ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.principal import principal
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
from gsc_core.detectors.covariance import ledoit_wolf
from gsc_core.detectors.distances import Points
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published

_FLAT = "the features of the calibration images vary in too few directions"


@dataclass(frozen=True)
class Gaussians:
    """Gaussians with one covariance `Σ`: `whitening [D,D]` has `W Wᵀ = Σ⁻¹`.

    `centres [M,D]` are the means after it: with a thousand classes that product is a hundred times
    the work of scoring an image.
    """

    centres: Points
    whitening: Tensor

    @classmethod
    def of(cls, features: Tensor, groups: Tensor, shrinkage: str) -> Gaussians:
        """One Gaussian for each group of the features `[N,D]`; raises Excused when they are flat.

        `groups [N]` numbers the groups 0…M−1, none of them empty.
        """
        means, _ = class_means(features, groups, int(groups.max()) + 1)
        whitening = _whitening(features - means[groups], shrinkage)
        return cls(Points.of(means @ whitening), whitening)

    def nearest(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance `[B]` of features `[B,D]` to the nearest mean."""
        return self.centres.distances(features @ self.whitening).amin(dim=1).square()


@dataclass(eq=False)
class Mahalanobis(Detector):
    """Squared Mahalanobis distance to the nearest class mean; missing classes are left out.

    Features are brought to the length 1 first (Mahalanobis++, ICML 2025, arXiv 2505.18032): their
    length varies with the class and not as a Gaussian does. Classes are those of the labels; where
    these are too few for a covariance, or absent, those that the network predicts.
    """

    shrinkage: str = knob(
        "ledoit-wolf",
        "how the covariance is kept well-behaved with few images",
        choices=("ledoit-wolf", "none"),
    )
    normalise: str = knob(
        "l2",
        "scale each feature to length 1 first, or use it as it is",
        choices=("l2", "none"),
        former="none",
    )

    name = "mahalanobis"
    title = "Mahalanobis"
    about = "How far the feature is from the nearest class, measured in the spread of the classes."
    family = Family.DISTANCE
    paper = published(ood.Mahalanobis)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    classes_: Gaussians | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the class means and the covariance within classes."""
        self.classes_ = Gaussians.of(*self._grouped(calibration), self.shrinkage)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.classes_ is not None, "fit() comes first"
        assert batch.features is not None
        return self.classes_.nearest(self._read(batch.features.detach()))

    def _read(self, features: Tensor) -> Tensor:
        """Features `[N,D]` in float64, of length 1 if so set."""
        exact = double(features)
        return torch.nn.functional.normalize(exact) if self.normalise == "l2" else exact

    def _grouped(self, calibration: Calibration) -> tuple[Tensor, Tensor]:
        """Features `[N,D]` and class numbers `[N]` without gaps: by the labels if these suffice."""
        features = self._read(calibration.require_features())
        labels = calibration.labels.to(features.device)
        labelled = labels >= 0
        by_label = _numbered(labels[labelled])
        if len(by_label) >= self._least(by_label, features, labelled=True):
            return features[labelled], by_label
        by_prediction = _numbered(calibration.logits.argmax(dim=1).to(features.device))
        least = self._least(by_prediction, features, labelled=False)
        if len(features) < least:
            why = " without shrinkage" if self.shrinkage == "none" else ""
            raise Excused(
                f"needs at least {least} calibration images for {_count(by_prediction)} predicted "
                f"classes{why}; there are {len(features)}"
            )
        return features, by_prediction

    def _least(self, groups: Tensor, features: Tensor, *, labelled: bool) -> int:
        """How many images a covariance around the means of these groups needs."""
        classes = _count(groups)
        if self.shrinkage == "none":
            return classes + features.shape[1]
        return max(2 * classes, LEAST_IMAGES) if labelled else classes + LEAST_IMAGES


def _numbered(classes: Tensor) -> Tensor:
    """The classes `[N]` numbered without gaps, in their order."""
    present = classes.bincount() > 0
    return (present.cumsum(0) - 1)[classes]


def _count(groups: Tensor) -> int:
    """How many groups there are, which are numbered without gaps."""
    return len(groups.bincount())


def _whitening(residuals: Tensor, shrinkage: str) -> Tensor:
    """`W [D,D]` with `W Wᵀ = Σ⁻¹` of residuals `[N,D]` around their means."""
    images, dimensions = residuals.shape
    if shrinkage != "none" and images < dimensions:
        return _whitening_of_few(residuals)
    covariance = residuals.T @ residuals / images
    identity = torch.eye(dimensions).to(residuals)
    if shrinkage != "none":
        part, even = ledoit_wolf(residuals)
        covariance = (1 - part) * covariance + part * even * identity
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise Excused(_FLAT)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return inverse.T


def _whitening_of_few(residuals: Tensor) -> Tensor:
    """The same of fewer images than dimensions: beyond their span all directions are alike."""
    part, even = ledoit_wolf(residuals)
    lengths, directions = principal(residuals)
    variances = (1 - part) * lengths.square() / len(residuals) + part * even
    beyond = part * even
    if not beyond > torch.finfo(beyond.dtype).eps * variances.amax():
        raise Excused(_FLAT)
    within = directions * (variances.rsqrt() - beyond.rsqrt()) @ directions.T
    within.diagonal().add_(beyond.rsqrt())
    return within
