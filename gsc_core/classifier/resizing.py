"""Which size an image is resized to, and the resize and crop themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from gsc_core.errors import ImageError

if TYPE_CHECKING:
    from gsc_core.classifier.preprocessing import Preprocessing

MAX_RESIZED_PIXELS = 80_000_000  # as many as an image may have that is read


def resize_crop(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 `[3,H,W]` to uint8 `[C,h,w]`; see `Preprocessing.resize_crop`."""
    height, width = image.shape[-2:]
    to = resized_size(preprocessing, height, width)
    if to != (height, width):
        _check_resized((height, width), to)
        mode = InterpolationMode(preprocessing.interpolation)
        image = functional.resize(image, list(to), interpolation=mode, antialias=True)
    image = _padded(image, preprocessing)
    cropped: Tensor = functional.center_crop(image, list(preprocessing.crop))
    return grey(cropped) if preprocessing.shape[0] == 1 else cropped


def grey(images: Tensor) -> Tensor:
    """uint8 `[…,3,H,W]` to `[…,1,H,W]` as Pillow's mode L: what is grey already stays the same."""
    red, green, blue = images.to(torch.int32).unbind(dim=-3)
    levels = (19595 * red + 38470 * green + 7471 * blue + 32768) // 65536
    return levels.to(torch.uint8).unsqueeze(-3)


def resized_size(preprocessing: Preprocessing, height: Any, width: Any) -> tuple[Any, Any]:
    """Height and width after the resize, for integers as for the free sizes of an export.

    One number is rounded down as torchvision does it, two are rounded as timm does it.
    """
    resize, mode = preprocessing.resize, preprocessing.crop_mode
    if resize is None:
        return height, width
    if isinstance(resize, int):
        shorter = torch.sym_min(height, width)
        return resize * height // shorter, resize * width // shorter
    tall, wide = resize
    if mode == "squash":
        return tall, wide
    within = mode == "border"
    limit = torch.sym_min if within else torch.sym_max
    of_width, of_height = _rounded(height * wide, width), _rounded(width * tall, height)
    if within:  # a line stays one
        of_width, of_height = torch.sym_max(of_width, 1), torch.sym_max(of_height, 1)
    return limit(tall, of_width), limit(wide, of_height)


def _rounded(numerator: Any, denominator: Any) -> Any:
    """The nearest integer to a quotient, an even one for a half, in integers alone."""
    doubled = 2 * numerator + denominator
    nearest = doubled // (2 * denominator)
    is_half = 1 - torch.sym_min(doubled % (2 * denominator), 1)
    return nearest - is_half * (nearest % 2)


def _padded(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The image with its surroundings where it is smaller than the crop; black is left to that."""
    lacking = [max(0, c - s) for c, s in zip(preprocessing.crop, image.shape[-2:], strict=True)]
    if not any(lacking) or not any(preprocessing.colour):
        return image
    top, left = (missing // 2 for missing in lacking)
    around = [left, top, lacking[1] - left, lacking[0] - top]
    padded: Tensor = functional.pad(image, around, fill=list(map(float, preprocessing.colour)))
    return padded


def _check_resized(size: tuple[int, int], to: tuple[int, int]) -> None:
    """Where an image has to cover a size, the longer side of a thin one may become any length."""
    if to[0] * to[1] > MAX_RESIZED_PIXELS:
        raise ImageError(
            f"The image of {size[1]} × {size[0]} pixels is so thin that resizing its shorter side "
            f"to {min(to)} would make the longer one {max(to)}, more than 80 million pixels "
            f"in all: crop it."
        )
