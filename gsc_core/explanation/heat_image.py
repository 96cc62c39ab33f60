"""The image that is explained: as the model saw it, and the heat to lay over it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageColor

if TYPE_CHECKING:
    from torch import Tensor

INFERNO = (
    "#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60",
    "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4",
)  # fmt: skip
"""Matplotlib's scale of that name in ten steps, as charts show it, dark to bright."""

_OPAQUE = 0.7  # where it is hottest: the image shines through


def crop_jpeg(pixels: Tensor) -> bytes:
    """The image as the model saw it, uint8 `[C,h,w]` after resize and crop, as JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()).save(
        file, "JPEG", quality=92
    )
    return file.getvalue()


def heat_png(heat: Sequence[Sequence[float]], size: tuple[int, int]) -> bytes:
    """A heat map as PNG of `size` (height, width) to lay over the crop: clear where it is 0."""
    height, width = size
    cells = Image.fromarray(np.asarray(heat, dtype=np.float32))
    smooth = np.asarray(cells.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
    anchors = [ImageColor.getrgb(colour) for colour in INFERNO]
    along = np.linspace(0, 1, len(anchors))
    layers = [np.interp(smooth, along, channel) for channel in zip(*anchors, strict=True)]
    layers.append(255 * _OPAQUE * smooth)
    file = io.BytesIO()
    Image.fromarray(np.stack(layers, axis=-1).round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
