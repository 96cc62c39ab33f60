"""One image laid over another."""

import io

from PIL import Image


def overlaid(below: bytes, above: bytes, side: int | None = None) -> bytes:
    """A JPEG of the image `below` with the half-transparent image `above` laid over it.

    Both come from the workspace; `above` is stretched to the size of `below`. With `side` the
    result is small: at most so many pixels wide and high.
    """
    with Image.open(io.BytesIO(below)) as base, Image.open(io.BytesIO(above)) as layer:
        over = layer.convert("RGBA").resize(base.size)
        done = Image.alpha_composite(base.convert("RGBA"), over).convert("RGB")
    if side is not None:
        done.thumbnail((side, side))
    file = io.BytesIO()
    done.save(file, "JPEG", quality=92 if side is None else 75)
    return file.getvalue()
