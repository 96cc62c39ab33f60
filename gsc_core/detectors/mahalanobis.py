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
from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Excused,
    Fit,
    Need,
    Representation,
    knob,
)
from gsc_core.detectors.distances import Points
from gsc_core.detectors.library import LEAST_IMAGES, published


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
        counts = groups.bincount()
        sums = features.new_zeros(len(counts), features.shape[1]).index_add(0, groups, features)
        means = sums / counts[:, None]
        whitening = _whitening(features - means[groups], shrinkage)
        return cls(Points.of(means @ whitening), whitening)

    def nearest(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distance `[B]` of features `[B,D]` to the nearest mean."""
        return self.centres.distances(features @ self.whitening).amin(dim=1).square()


@dataclass(eq=False)
class Mahalanobis(Detector):
    """Squared Mahalanobis distance to the nearest class mean; missing classes are left out."""

    shrinkage: str = knob(
        "ledoit-wolf",
        "how the covariance is kept well-behaved with few images",
        choices=("ledoit-wolf", "none"),
    )

    name = "mahalanobis"
    title = "Mahalanobis"
    about = "How far the feature is from the nearest class, measured in the spread of the classes."
    paper = published(ood.Mahalanobis)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES | Fit.LABELS

    classes_: Gaussians | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the class means and the covariance within classes from the labelled images."""
        self.classes_ = Gaussians.of(*self._labelled(calibration), self.shrinkage)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.classes_ is not None, "fit() comes first"
        assert batch.features is not None
        return self.classes_.nearest(double(batch.features.detach()))

    def _labelled(self, calibration: Calibration) -> tuple[Tensor, Tensor]:
        """Features `[N,D]` and class numbers `[N]` without gaps of the labelled images."""
        features = double(calibration.require_features())
        labelled = calibration.require_labels().to(features.device)
        features = features[labelled]
        labels = calibration.labels.to(features.device)[labelled]
        present = labels.bincount() > 0
        classes = int(present.sum())
        unshrunk = self.shrinkage == "none"
        least = classes + features.shape[1] if unshrunk else max(2 * classes, LEAST_IMAGES)
        if len(features) < least:
            why = " without shrinkage" if unshrunk else ""
            raise Excused(
                f"needs at least {least} labelled calibration images for {classes} classes{why}; "
                f"there are {len(features)}"
            )
        return features, (present.cumsum(0) - 1)[labels]


def _whitening(residuals: Tensor, shrinkage: str) -> Tensor:
    """`W [D,D]` with `W Wᵀ = Σ⁻¹` of residuals `[N,D]` around their means."""
    images, dimensions = residuals.shape
    covariance = residuals.T @ residuals / images
    identity = torch.eye(dimensions).to(residuals)
    if shrinkage != "none":
        evenly = covariance.trace() / dimensions * identity
        part = _shrinkage(residuals, covariance, evenly)
        covariance = (1 - part) * covariance + part * evenly
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise Excused("the features of the calibration images vary in too few directions")
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return inverse.T


def _shrinkage(residuals: Tensor, covariance: Tensor, evenly: Tensor) -> Tensor:
    """How much of `evenly` to mix in, 0 to 1, by Ledoit and Wolf.

    It is how far the covariance of so many images is off by chance, as a share of how far it is
    from an even one.
    """
    images = len(residuals)
    off = covariance.square().sum()
    by_chance = (residuals.square().sum(dim=1).square().sum() / images - off) / images
    from_even = (covariance - evenly).square().sum()
    return torch.where(from_even > 0, (by_chance / from_even).clamp(0, 1), 0)
