"""Whether two images look the same, whatever their bytes: a hash of the coarse shapes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor

SIDE = 32  # pixels to which an image is averaged
LOWEST = 8  # frequencies in each direction
BITS = LOWEST * LOWEST - 1  # the mean brightness is none

Hash = NDArray[np.bool_]


def perceptual_hash(image: Tensor) -> Hash:
    """63 bits of uint8 `[C,H,W]`: the signs of its lowest frequencies, each against their median.

    As pHash has it: a cosine transform of the grey image at 32 × 32 pixels. Copies that were
    encoded or scaled again differ in a few bits, unrelated images in about half of them.
    """
    grey = image.float().mean(dim=0)[None, None]
    small = torch.nn.functional.interpolate(
        grey, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
    )
    lowest = dctn(small[0, 0].double().numpy(), norm="ortho")[:LOWEST, :LOWEST].ravel()[1:]
    return np.asarray(lowest > np.median(lowest))


def differing_bits(one: Hash, other: Hash) -> int:
    """In how many bits two hashes differ, 0 to 63."""
    return int(np.count_nonzero(one != other))
