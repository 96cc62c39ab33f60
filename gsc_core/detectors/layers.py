"""How far an image is from the familiar ones at each depth of the network.

An outlier may look usual to the last layer and unusual to an early one. So the channel means at the
end of each stage are held against those of the calibration images: one Mahalanobis distance a
stage, in its own units, then their weighted mean. Lee and others (NeurIPS 2018) learn such weights
from OOD images and keep the classes separate; here surrogate outliers do, and there are no classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.principal import principal
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.covariance import ledoit_wolf
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.fusion import Fusion
from gsc_core.detectors.library import LEAST_IMAGES

_LEAST_SPREAD = 1e-6  # of the largest: a channel that hardly varies is left as it is
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Shape:
    """One Gaussian `N(m, Σ)` of standardised values: what it takes to tell a distance from it.

    centre, spread: `[C]`, by which values are standardised. axes: `[C,R]`, the directions in which
    the images vary, with variances `[R]`; in every other direction the variance is `beyond`.
    """

    centre: Tensor
    spread: Tensor
    axes: Tensor
    variances: Tensor
    beyond: float

    @classmethod
    def of(cls, values: Tensor) -> tuple[Self, Tensor]:
        """From values `[N,C]` in float64, N > 1, with their distances `[N]`, each held out.

        Held out: mean and scatter are those of the other images, by an update of rank one; the
        standardisation, how much is shrunk and the divisor N stay those of all.
        """
        n = len(values)
        centre, spread = values.mean(dim=0), values.std(dim=0, correction=0)
        spread = torch.where(spread > _LEAST_SPREAD * spread.amax(), spread, 1.0)
        residuals = (values - centre) / spread
        lengths, axes = principal(residuals)
        raw = lengths.square() / n
        part, even = ledoit_wolf(residuals)
        part, even = part.clamp(min=_LEAST), even.clamp(min=_LEAST)  # to divide by
        shape = cls(centre, spread, axes, (1 - part) * raw + part * even, float(part * even))
        squared = shape._squared(residuals)
        once = n / (n - 1)
        held_out = once**2 * squared / (1 - (1 - part) * once / n * squared)
        return shape, held_out.sqrt()

    def distance(self, values: Tensor) -> Tensor:
        """Mahalanobis distance `[B]` of values `[B,C]`."""
        return self._squared((values - self.centre) / self.spread).sqrt()

    def _squared(self, residuals: Tensor) -> Tensor:
        along = residuals @ self.axes
        outside = residuals.square().sum(dim=1) - along.square().sum(dim=1)
        return (along.square() / self.variances).sum(dim=1) + outside.clamp(min=0) / self.beyond


@dataclass(eq=False)
class Layers(Detector):
    """Weighted mean over stages of the Mahalanobis distance of channel means.

    Higher = more likely OOD. Each stage's distance is in units of how calibration images spread,
    each measured without the image itself; the weights are learned from surrogate outliers, and
    all the same where there are too few.
    """

    name: ClassVar[str] = "layers"
    title: ClassVar[str] = "Layer profile"
    about: ClassVar[str] = (
        "How unusual the image looks at each depth of the network, from its edges to its objects."
    )
    family: ClassVar[Family] = Family.DISTANCE
    paper: ClassVar[Paper | None] = Paper(
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial "
        "Attacks",
        "NeurIPS",
        2018,
        "https://arxiv.org/abs/1807.03888",
    )
    needs: ClassVar[Need] = Need.LOGITS | Need.LAYERS
    fitted_with: ClassVar[Fit] = Fit.IMAGES | Fit.SURROGATES

    shapes_: tuple[Shape, ...] = field(default=(), init=False, repr=False)
    fusion_: Fusion | None = field(default=None, init=False, repr=False)
    familiar_: Tensor | None = field(default=None, init=False, repr=False)
    """Distance `[N,stages]` of each calibration image, measured without it."""

    def fit(self, calibration: Calibration) -> Self:
        """Learn the shape of each stage's channel means."""
        layers = double(calibration.require_layers(LEAST_IMAGES))
        widths = [stage.channels for stage in calibration.network.stages]
        fitted = [Shape.of(values) for values in torch.split(layers, widths, dim=1)]
        self.shapes_ = tuple(shape for shape, _ in fitted)
        self.familiar_ = torch.stack([held_out for _, held_out in fitted], dim=1)
        surrogates = calibration.surrogates
        outliers = None if surrogates is None or surrogates.layers is None else surrogates
        others = None if outliers is None else self.by_stage(outliers)
        self.fusion_ = Fusion.of(self.familiar_, others)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.fusion_ is not None, "fit() comes first"
        return self.fusion_(self.by_stage(batch))

    def by_stage(self, batch: Representation) -> Tensor:
        """Distance `[B,stages]` from the familiar images at each stage, in float64."""
        assert batch.layers is not None
        widths = [len(shape.centre) for shape in self.shapes_]
        parts = torch.split(double(batch.layers.detach()), widths, dim=1)
        return torch.stack(
            [shape.distance(part) for shape, part in zip(self.shapes_, parts, strict=True)], dim=1
        )
