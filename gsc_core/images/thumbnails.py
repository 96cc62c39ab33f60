"""An image made small, for galleries: upright, as the eye sees it, whatever the file's format."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

from gsc_core.images.opening import opened, orientation, read_bytes, rgb_of

SIDE = 256
_QUALITY = 75


def thumbnail(path: Path, side: int = SIDE) -> bytes:
    """The image as a JPEG of at most `side` × `side` pixels, never enlarged.

    It shows what `decode` shows, behind the same guards, and raises ImageError as that does. A
    large JPEG is decoded at a fraction of its size, which takes a tenth of the time.
    """
    with opened(read_bytes(path, path.name), path.name) as image:
        # Colours that can be averaged as they are, are: few pixels are then turned and converted.
        plain = image.mode in ("RGB", "L", "CMYK") and not image.has_transparency_data
        rotated = orientation(image) != 1
        if plain:
            image.thumbnail((side, side))
        small = Image.fromarray(rgb_of(ImageOps.exif_transpose(image) if rotated else image))
        small.thumbnail((side, side))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
