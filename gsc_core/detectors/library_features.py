"""Detectors bound from pytorch-ood that compare features with those of the calibration images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

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
from gsc_core.detectors.library import LEAST_IMAGES, published, settled

_NOISE = torch.finfo(torch.float32).eps  # of features and weights


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


@dataclass(eq=False)
class KNN(Detector):
    """Distance of the normalised feature to its k-th nearest calibration feature.

    The paper uses k = 10 with 13,000 ImageNet images and 1,000 with all of them; its score hardly
    depends on k when k grows with the number of images.

    The library's own searches outside torch; this one is plain torch, so that it can be exported.
    """

    k: int = knob(10, "which nearest neighbour counts", low=1)

    name = "knn"
    title = "Nearest neighbours"
    about = "How far the image is from the familiar images that resemble it most."
    paper = published(ood.KNN)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    known_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Keep the normalised calibration features `[N,D]`, in float64."""
        features = calibration.require_features(max(self.k, LEAST_IMAGES))
        self.known_ = double(torch.nn.functional.normalize(features))
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.known_ is not None, "fit() comes first"
        assert batch.features is not None
        direction = torch.nn.functional.normalize(batch.features.detach())
        distances = torch.cdist(double(direction), self.known_)
        return distances.kthvalue(self.k, dim=1).values


@dataclass(eq=False)
class NNGuide(OnFeatures):
    """Energy times the energy-weighted cosine similarity to the k nearest calibration features."""

    k: int = knob(10, "how many nearest neighbours count", low=1)

    name = "nnguide"
    title = "NNGuide"
    about = "The energy, believed only as far as familiar images with high energy are near."
    paper = published(ood.NNGuide)

    def bind(self, calibration: Calibration) -> Any:
        """The library's NNGuide."""
        features = calibration.require_features(max(self.k, LEAST_IMAGES))
        bound = ood.NNGuide(None, calibration.linear, k=self.k)
        return bound.fit_features(features, features.new_zeros(len(features)))


@dataclass(eq=False)
class ViM(Detector):
    """Length of the feature outside the principal subspace, as one more logit, less the energy.

    By itself `d` follows the paper (1,000 of at least 2,048 dimensions, 512 of at least 768, else
    half of them), but at most half the number of calibration images, and two thirds of the
    dimensions they fill: else they all lie within the subspace, and nothing is left to learn the
    scale from.

    Ours and not the library's, because what lies outside is small: a covariance in float32 drowns
    variances below 1e-7 of the largest, and the scores then depend on the order of the images.
    """

    d: int = knob(0, "dimensions of the principal subspace; 0 = by itself", low=0)

    name = "vim"
    title = "ViM"
    about = "Weighs the part of the feature that familiar images do not use against the logits."
    paper = published(ood.ViM)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    origin_: Tensor | None = field(default=None, init=False, repr=False)
    principal_: Tensor | None = field(default=None, init=False, repr=False)
    alpha_: float = field(default=0.0, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the principal subspace `[D,d]`, seen from where all logits are 0, and the scale."""
        features = double(calibration.require_features(max(LEAST_IMAGES, self.d + 1)))
        weight, bias = double(calibration.linear.weight), double(calibration.linear.bias)
        self.origin_ = calibration.linear.origin
        centred = features - self.origin_
        lengths, directions = _principal(centred)
        # a direction that float32 features do not fill holds their rounding alone
        filled = int((lengths > _NOISE * max(centred.shape) * lengths.max()).sum())
        d = self.d or _subspace(*centred.shape, filled=filled)
        if d >= filled:
            raise Excused(
                f"d={d} leaves nothing outside the principal subspace: the features of the "
                f"calibration images fill {filled} dimensions"
            )
        self.principal_ = directions[:, -d:].contiguous()
        largest = (features @ weight.T + bias).amax(dim=1)
        self.alpha_ = float(largest.mean() / self._outside(features).mean())
        if self.alpha_ <= 0:
            raise Excused("the largest logits are not positive on average, so ViM has no scale")
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.principal_ is not None, "fit() comes first"
        assert batch.features is not None
        energy = double(batch.logits.detach()).logsumexp(dim=1)
        return self.alpha_ * self._outside(double(batch.features.detach())) - energy

    def _outside(self, features: Tensor) -> Tensor:
        """Length `[B]` of what the principal subspace does not hold of features `[B,D]`."""
        assert self.principal_ is not None and self.origin_ is not None
        centred = features - self.origin_
        inside = centred @ self.principal_ @ self.principal_.T
        lengths: Tensor = torch.linalg.vector_norm(centred - inside, dim=1)
        return lengths


@dataclass(eq=False)
class SHE(OnFeatures):
    """Inner product with the mean feature of the correctly classified images of the class."""

    name = "she"
    title = "SHE"
    about = "How well the feature agrees with the stored pattern of the predicted class."
    paper = published(ood.SHE)
    fitted_with = Fit.IMAGES | Fit.LABELS

    def bind(self, calibration: Calibration) -> Any:
        """The library's SHE; it needs a correctly classified image of every class."""
        linear = calibration.linear
        features = calibration.require_features()
        known = calibration.require_labels()
        features, labels = features[known], calibration.labels[known]
        predicted = linear(features).argmax(dim=1)
        classes = linear.weight.shape[0]
        correct = labels[predicted == labels].bincount(minlength=classes)
        missing = int((correct == 0).sum())
        if missing:
            raise Excused(
                f"needs a correctly classified calibration image of every class; {missing} of "
                f"{classes} classes have none"
            )
        return ood.SHE(None, linear).fit_features(features, labels)


@dataclass(eq=False)
class NCI(OnFeatures):
    """How far the feature, seen from the mean feature, points along the predicted class's weights.

    `alpha` also rewards features far from the origin.
    """

    alpha: float = knob(0.0, "weight of the feature's size", low=0.0, high=10)

    name = "nci"
    title = "NCI"
    about = "Whether the feature points where the predicted class says it should."
    paper = published(ood.NCI)

    def bind(self, calibration: Calibration) -> Any:
        """The library's NCI."""
        features = calibration.require_features(LEAST_IMAGES)
        return ood.NCI(None, _module(calibration.linear), self.alpha).fit_features(features)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; a feature at the mean points nowhere (0/0) and agrees by 0."""
        scores = super().score(batch)
        assert batch.features is not None
        centred = batch.features == self.bound_.global_mean
        nowhere = -self.alpha * batch.features.abs().sum(dim=1)
        return torch.where(centred.all(dim=1), nowhere, scores).detach()


@dataclass(eq=False)
class GMM(OnFeatures):
    """Negative log-likelihood under one Gaussian a class, each with a covariance of its own."""

    reg: float = knob(1e-6, "added to the variances", low=1e-12, high=1e3)

    name = "gmm"
    title = "Gaussian mixture"
    about = "How unlikely the feature is when every class is a Gaussian of its own shape."
    paper = published(ood.GMM)
    fitted_with = Fit.IMAGES | Fit.LABELS

    def bind(self, calibration: Calibration) -> Any:
        """The library's GMM; a covariance needs more images of each class than dimensions."""
        features = calibration.require_features()
        known = calibration.require_labels()
        features, labels = features[known], calibration.labels[known]
        counts = labels.bincount()
        fewest = int(counts[counts > 0].min())
        if fewest <= features.shape[1]:
            raise Excused(
                f"needs at least {features.shape[1] + 1} calibration images of each class, more "
                f"than the features have dimensions; one class has {fewest}"
            )
        try:
            return ood.GMM(None, self.reg).fit_features(features, labels)
        except ValueError:  # the library's word for a covariance that cannot be inverted
            raise Excused(f"a class does not vary enough for reg={self.reg}; raise it") from None


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """How far features `[N,D]` reach in each principal direction, rising, and these `[D,min(N,D)]`.

    By the decomposition that is the faster one, to the same numbers in float64.
    """
    images, dimensions = centred.shape
    if images < dimensions:
        _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
        return lengths.flip(0), directions.T.flip(1)
    squares, directions = torch.linalg.eigh(centred.T @ centred)
    return squares.clamp(min=0).sqrt(), directions


def _subspace(images: int, dimensions: int, *, filled: int) -> int:
    """Dimensions of ViM's principal subspace."""
    by_paper = 1000 if dimensions >= 2048 else 512 if dimensions >= 768 else dimensions // 2
    return max(1, min(by_paper, images // 2, 2 * filled // 3))


def _module(linear: Linear) -> torch.nn.Linear:
    """The last linear map as the module that the library wants to copy."""
    classes, dimensions = linear.weight.shape
    module = torch.nn.Linear(dimensions, classes, device="meta")
    module.weight = torch.nn.Parameter(linear.weight, requires_grad=False)
    module.bias = torch.nn.Parameter(linear.bias, requires_grad=False)
    return module
