"""Covariances from few images, kept well-behaved."""

from __future__ import annotations

import torch
from torch import Tensor


def ledoit_wolf(residuals: Tensor) -> tuple[Tensor, Tensor]:
    """How much of an even covariance to mix into that of residuals `[N,C]`, and its variance.

    Residuals are around their mean, or means. The first, 0 to 1, is how far the covariance of so
    many images is off by chance, as a share of how far it is from an even one (Ledoit and Wolf
    2004, Journal of Multivariate Analysis 88).
    The smaller of the two products that tell it is computed: of channels, or of images.
    """
    images, dimensions = residuals.shape
    small = residuals.T @ residuals if dimensions <= images else residuals @ residuals.T
    lengths = residuals.square().sum(dim=1)
    even = lengths.sum() / images / dimensions
    off = (small / images).square().sum()
    by_chance = (lengths.square().sum() / images - off) / images
    from_even = off - dimensions * even**2
    return torch.where(from_even > 0, (by_chance / from_even).clamp(0, 1), 1.0), even
