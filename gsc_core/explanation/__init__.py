"""One image explained: which channels GSC short-circuits, what that does, and where they look."""

from gsc_core.explanation.channels import ChannelNormals, Usual
from gsc_core.explanation.one_image import ChannelReading, ClassShare, Explanation, explain
from gsc_core.explanation.pictures import crop_jpeg, heat_png

__all__ = [
    "ChannelNormals",
    "ChannelReading",
    "ClassShare",
    "Explanation",
    "Usual",
    "crop_jpeg",
    "explain",
    "heat_png",
]
