"""One image explained: which channels GSC short-circuits, what that does, and where they look.

What needs torch is imported from its own module: `one_image`, `channels`, `depths`.
"""

from gsc_core.explanation.heat_image import crop_jpeg, heat_png
from gsc_core.explanation.result import (
    ChannelReading,
    ClassShare,
    DepthReading,
    Explanation,
    Usual,
)

__all__ = [
    "ChannelReading",
    "ClassShare",
    "DepthReading",
    "Explanation",
    "Usual",
    "crop_jpeg",
    "heat_png",
]
