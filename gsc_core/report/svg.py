"""Drawing for the report's figures: SVG in presentation attributes, in which names are text.

A style sheet is not needed, and a page's own CSS may still override the colours (dark pages).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from gsc_core.evaluation.counts import percent
from gsc_core.report.printable import printable

INK, QUIET, LINE, MARK = "#1c2a2e", "#56666b", "#d5dfe0", "#7b3fa0"
"""Colours of names, of labels, of axes, and of the threshold."""

FONT = "system-ui, sans-serif"
SIZE = 13  # of letters, in the units of the image
WIDE = 300  # a plot with two axes, and its margins: left, top, right, bottom
MARGINS = (64, 12, 24, 46)
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)

Point = tuple[float, float]


def picture(left: float, top: float, width: float, height: float, about: str | None) -> Element:
    """An empty image that says what it shows; without `about` it is decoration."""
    what = {"aria-hidden": "true"} if about is None else {"role": "img"}
    if about is not None:
        what["aria-label"] = printable(about)
    view = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"{left:g} {top:g} {width:g} {height:g}",
    }
    letters = {"font-family": FONT, "font-size": str(SIZE), "fill": QUIET}
    return Element("svg", {**view, **what, **letters})


def text(parent: Element, words: str, at: Point, anchor: str = "start", **how: str) -> None:
    """Words that start, end or have their middle at a point."""
    place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "text-anchor": anchor}
    SubElement(parent, "text", {**place, **how}).text = words


def line(parent: Element, start: Point, end: Point, stroke: str, **how: str) -> None:
    """A straight line."""
    path = "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*start, *end)
    SubElement(parent, "path", {"d": path, "stroke": stroke, "fill": "none", **how})


@dataclass(frozen=True)
class Axes:
    """Shares over shares: `least`..1 across, `least`..`top` upright, in a plot `tall` units high.

    The origin of the image is the plot's top left corner.
    """

    svg: Element
    tall: float
    top: float
    least: float = 0.0

    @classmethod
    def of(cls, about: str, tall: float, top: float, least: float = 0.0) -> "Axes":
        """An empty plot with room for its labels."""
        left, above, right, below = MARGINS
        svg = picture(-left, -above, left + WIDE + right, above + tall + below, about)
        return cls(svg, tall, top, least)

    def at(self, x: float, y: float) -> Point:
        """Where a pair of shares lies in the image."""
        across, up = (x - self.least) / (1 - self.least), (y - self.least) / (self.top - self.least)
        return WIDE * across, self.tall * (1 - up)

    def grid(self, ticks: Sequence[float], across: Sequence[float] = QUARTERS) -> None:
        """Lines at `ticks` of the upright axis, and shares `across`, in percent."""
        for tick in ticks:
            (left, y), right = self.at(self.least, tick), self.at(1, tick)
            line(self.svg, (left, y), right, LINE)
            text(self.svg, percent(tick), (left - 8, y + 4), "end")
        for tick in across:
            place, _ = self.at(tick, self.least)
            text(self.svg, percent(tick, 0), (place, self.tall + 18), "middle")

    def titles(self, across: str, upright: str) -> None:
        """What the axes measure."""
        text(self.svg, across, (WIDE / 2, self.tall + 38), "middle")
        turned = f"translate({14 - MARGINS[0]} {self.tall / 2:g}) rotate(-90)"
        text(self.svg, upright, (0, 0), "middle", transform=turned)

    def curve(self, points: Sequence[Point], stroke: str, **how: str) -> None:
        """A line through pairs of shares."""
        path = " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in points)
        look = {"fill": "none", "stroke": stroke, "stroke-width": "2"}
        SubElement(self.svg, "polyline", {"points": path, **look, **how})

    def mark(self, x: float, y: float) -> None:
        """A dot where the threshold is."""
        left, down = self.at(x, y)
        centre = {"cx": f"{left:.1f}", "cy": f"{down:.1f}"}
        SubElement(self.svg, "circle", {**centre, "r": "4.5", "fill": MARK})
