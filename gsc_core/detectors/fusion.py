"""How much each of several scores should count, learned without an OOD image.

The weights are those of Fisher's discriminant between calibration images and surrogate outliers:
the sum of scores whose mean differs most between the two, measured in its spread on calibration
images. Two restraints make it hold on images that are neither. No weight is negative, for a score
that surrogates turn around is misled and not informative. And correlations count half, so that
two scores that nearly repeat each other share a weight and are not played off against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.readout import Scale

FEWEST = 40
"""Calibration images, and surrogates, below which all weigh the same."""

CORRELATION = 0.5  # how much of each correlation counts; 0.3 to 0.8 are level on four models
BEYOND = 4.0  # spreads: a score further out says no more to learn from


@dataclass(frozen=True, eq=False)
class Fusion:
    """A weighted mean of standardised scores.

    scale: middle and spread `[J]` of each score on calibration images. weights: `[J]`, at least 0,
    with the sum 1. learned: whether from surrogates; else all are the same.
    """

    scale: Scale
    weights: Tensor
    learned: bool

    @classmethod
    def of(cls, id_scores: Tensor, surrogates: Tensor | None) -> Self:
        """From scores `[N,J]` of calibration images and `[S,J]` of surrogate outliers.

        The calibration scores should be of images that the detectors have not learned from. Where
        no score tells surrogates, or there are fewer than `FEWEST` of either, all weigh the same.
        """
        scale = Scale.of(double(id_scores))
        weights = None
        if surrogates is not None and min(len(id_scores), len(surrogates)) >= FEWEST:
            weights = _weights(
                scale.standardised(double(id_scores)), scale.standardised(double(surrogates))
            )
        if weights is None:
            return cls(scale, id_scores.new_ones(id_scores.shape[1]).double().softmax(dim=0), False)
        return cls(scale, weights.to(scale.middle), True)

    def __call__(self, scores: Tensor) -> Tensor:
        """Fused scores `[B]` of scores `[B,J]`, in float64; higher = more likely OOD."""
        return self.contributions(scores).sum(dim=1)

    def contributions(self, scores: Tensor) -> Tensor:
        """What each score adds `[B,J]`; 0 is usual for a familiar image."""
        return self.scale.standardised(double(scores)) * self.weights


def _weights(id_scores: Tensor, surrogates: Tensor) -> Tensor | None:
    """Weights `[J]` of standardised scores; None where none of them tells surrogates."""
    ours, theirs = (
        scores.clamp(-BEYOND, BEYOND).cpu().numpy() for scores in (id_scores, surrogates)
    )
    apart = theirs.mean(axis=0) - ours.mean(axis=0)
    covariance = np.atleast_2d(np.cov(ours, rowvar=False))
    own = np.maximum(np.diag(covariance), 1e-9)
    shrunk = CORRELATION * covariance + np.diag(own - CORRELATION * np.diag(covariance))
    root = np.linalg.cholesky(shrunk)
    # the discriminant Σ⁻¹d minimises ‖Rᵀw − R⁻¹d‖ with Σ = RRᵀ; over w ≥ 0 it has no closed form
    weights, _ = nnls(root.T, np.linalg.solve(root, apart))
    total = weights.sum()
    return torch.from_numpy(weights / total) if total > 0 else None
