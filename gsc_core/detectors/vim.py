"""Virtual-logit matching: the part of the feature outside the principal subspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.principal import principal
from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published

_NOISE = torch.finfo(torch.float32).eps  # of features and weights


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

    d: int = knob(0, "dimensions of the principal subspace; 0 = chosen automatically", low=0)

    name = "vim"
    title = "ViM"
    about = "Weighs the part of the feature that familiar images do not use against the logits."
    family = Family.DISTANCE
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
        lengths, directions = principal(centred)
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
        projected = centred @ self.principal_ @ self.principal_.T
        lengths: Tensor = torch.linalg.vector_norm(centred - projected, dim=1)
        return lengths


def _subspace(images: int, dimensions: int, *, filled: int) -> int:
    """Dimensions of ViM's principal subspace."""
    by_paper = 1000 if dimensions >= 2048 else 512 if dimensions >= 768 else dimensions // 2
    return max(1, min(by_paper, images // 2, 2 * filled // 3))
