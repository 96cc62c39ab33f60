"""One look for each way to refuse an image, the same on the pages and in the report."""

from dataclasses import dataclass

from gsc_core.run.set_colours import OOD_COLOURS


@dataclass(frozen=True)
class Look:
    """What a way is called, its colour as `#rrggbb`, and its line style by Plotly's name."""

    title: str
    colour: str
    dash: str


LOOKS = {
    "confidence": Look("Confidence alone", OOD_COLOURS[1], "dot"),
    "detector": Look("Detector alone", OOD_COLOURS[0], "dash"),
    "both": Look("Both", OOD_COLOURS[2], "solid"),
}
"""By the field of a `Frontier`, in the order of the legend."""
