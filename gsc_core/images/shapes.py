"""Whether two images show the same, whatever their bytes: by their shapes, from coarse to fine.

A network's features do not tell that: encoding an image again can move them further than another
image of its class lies. The lowest frequencies of the grey image hardly change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

COARSE = 8
"""Frequencies in each direction: 63 numbers an image find nearly all copies among millions."""
FINE = 16
"""So many tell a copy from another image of the same shapes."""


_ROUNDING = 1e-4  # of a pixel's value


def shapes(images: Tensor, frequencies: int = COARSE) -> Tensor:
    """The shapes `[B,F²−1]` of images `[B,C,H,W]`, each of length 1; 0 for an image of one colour.

    The lowest frequencies of the grey image's cosine transform, without its mean brightness, each
    weighed by its distance from that: large shapes, which all images have, count no more than
    others. The product of two is their likeness, 1 for the same image, brighter or not.
    """
    grey = images.float().mean(dim=1)
    rows, columns = (_waves(size, frequencies, grey.device) for size in grey.shape[1:])
    transformed = rows @ grey @ columns.T
    number = torch.arange(frequencies, device=grey.device)
    weight = torch.hypot(number[:, None].float(), number[None].float())
    weighed = (transformed * weight).flatten(1)[:, 1:]
    length = weighed.norm(dim=1, keepdim=True)
    # of an image of one colour, rounding is all there is
    rounding = _ROUNDING * grey.abs().amax(dim=(1, 2))[:, None] * math.sqrt(grey[0].numel())
    return torch.where(length > rounding, weighed / length.clamp(min=1e-30), 0.0)


def mirrored(rows: Tensor) -> Tensor:
    """The shapes `[B,F²−1]` of the same images mirrored left to right."""
    frequencies = math.isqrt(rows.shape[1] + 1)
    sign = (-1.0) ** torch.arange(frequencies, device=rows.device)
    return rows * sign.repeat(frequencies)[1:]


def _waves(size: int, frequencies: int, device: torch.device) -> Tensor:
    """Cosines `[F,size]` with 0, ½, 1, … turns over the image."""
    places = (torch.arange(size, device=device) + 0.5) / size
    return torch.cos(math.pi * torch.arange(frequencies, device=device)[:, None] * places)
