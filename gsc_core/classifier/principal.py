"""The principal directions of a matrix, fast."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = torch.finfo(torch.float64).eps
_NOT_ZERO = 1e-150


def principal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """How far rows `[N,D]` reach in each principal direction, rising, and these `[D,R]`.

    In float64, from the smaller of the two Gram matrices: several times faster than from the rows
    themselves. R is min(N,D), less those directions of which such a matrix holds rounding alone.
    """
    images, dimensions = rows.shape
    wide = images < dimensions
    gram = rows @ rows.T if wide else rows.T @ rows
    squares, vectors = torch.linalg.eigh(gram)
    reached = squares >= _ROUNDING * len(gram) * squares[-1]  # all, where there are only zeros
    lengths, vectors = squares[reached].clamp(min=0).sqrt(), vectors[:, reached]
    return lengths, rows.T @ vectors / lengths.clamp(min=_NOT_ZERO) if wide else vectors
