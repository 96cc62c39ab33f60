"""The kinds of surrogate outliers, in words; `surrogates` makes them."""

from typing import NamedTuple


class SurrogateKind(NamedTuple):
    """A kind's name, and what it keeps of an ID image and what it breaks."""

    name: str
    description: str


ZOOM = SurrogateKind("zoom", "a small part of the image, enlarged: texture without an object")
JIGSAW = SurrogateKind("jigsaw", "the image in shuffled patches: parts without their whole")
PHASE = SurrogateKind("phase", "the image's spectrum with random phases: texture without edges")
MIX = SurrogateKind("mix", "two images blended: no single object")

TILE = SurrogateKind("tile", "a small part, mirrored and repeated: texture at its own size")
CROP = SurrogateKind("crop", "a larger part, enlarged: an object without its surroundings")

SURROGATE_KINDS = (ZOOM, JIGSAW, PHASE, MIX, TILE, CROP)
"""All that can be made. A calibration stores which its surrogates are by the place in this tuple,
so new ones come last and none goes.
"""
