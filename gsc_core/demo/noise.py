"""Random fields: the raw material of clouds, leaves, dirt and every procedural texture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 96  # pixels; every demo image is square

Array = NDArray[np.float32]
Rng = np.random.Generator
Cells = int | tuple[int, int]


def smooth(rng: Rng, cells: Cells, side: int = SIDE) -> Array:
    """One octave: random values on ``cells`` (rows, columns) grown smoothly to side × side."""
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    grid = rng.random((rows, columns), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))


def fractal(
    rng: Rng, cells: Cells = 3, octaves: int = 5, roughness: float = 0.55, side: int = SIDE
) -> Array:
    """Multi-octave noise in 0…1: each octave twice as fine and ``roughness`` times as strong.

    ``cells`` are those of the coarsest octave; unequal rows and columns give a grain.
    """
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    field = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        finer = min(rows << octave, side), min(columns << octave, side)
        field += roughness**octave * smooth(rng, finer, side)
    low, high = field.min(), field.max()
    return np.asarray((field - low) / (high - low + 1e-6), np.float32)


def ramp(field: Array, colours: Sequence[Sequence[float]]) -> Array:
    """Colours looked up in a field: [H, W] in 0…1 to [H, W, 3], evenly spaced stops."""
    table = np.asarray(colours, np.float32)
    stops = np.linspace(0, 1, len(table), dtype=np.float32)
    return np.stack([np.interp(field, stops, c) for c in table.T], axis=-1).astype(np.float32)


def grid(side: int = SIDE) -> tuple[Array, Array]:
    """Row and column coordinates in 0…1, each [side, side]."""
    line = np.linspace(0, 1, side, dtype=np.float32)
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def to_image(pixels: Array) -> Image.Image:
    """[H, W, 3] in 0…1 (clipped) to an RGB image."""
    return Image.fromarray((pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def to_array(image: Image.Image) -> Array:
    """An image to floats in 0…1, channels last."""
    return np.asarray(image, np.float32) / np.float32(255)


def blurred(pixels: Array, radius: float) -> Array:
    """[H, W, 3] softened by a Gaussian of ``radius`` pixels (8-bit inside, which is enough)."""
    return to_array(to_image(pixels).filter(ImageFilter.GaussianBlur(radius)))
