"""A picture made small, for galleries: upright, as the eye sees it, whatever the file's format."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from gsc_core.images.decode import decode

SIDE = 256


def thumbnail(path: Path, side: int = SIDE) -> bytes:
    """The picture as a JPEG of at most `side` × `side` pixels; raises ImageError as `decode`."""
    picture = Image.fromarray(decode(path).permute(1, 2, 0).numpy())
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
