"""The directions in which features of calibration images vary most."""

from __future__ import annotations

import torch
from torch import Tensor


def principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """How far features `[N,D]` reach in each principal direction, rising, and these `[D,min(N,D)]`.

    By the decomposition that is the faster one, to the same numbers in float64.
    """
    images, dimensions = centred.shape
    if images < dimensions:
        _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
        return lengths.flip(0), directions.T.flip(1)
    squares, directions = torch.linalg.eigh(centred.T @ centred)
    return squares.clamp(min=0).sqrt(), directions
