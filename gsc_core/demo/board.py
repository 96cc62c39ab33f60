"""The drawing board: vector shapes in unit coordinates, drawn large and reduced to a sign face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

FACE_PX = 160  # a face is warped into a scene of 192 px, so it is never enlarged
OVERSAMPLING = 4

Point = tuple[float, float]
Colour = tuple[int, int, int]

RED: Colour = (186, 22, 34)
BLUE: Colour = (8, 76, 158)
YELLOW: Colour = (247, 192, 12)
GREEN: Colour = (0, 122, 72)
WHITE: Colour = (244, 244, 240)
BLACK: Colour = (22, 22, 26)
GREY: Colour = (118, 120, 124)


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(pixels)


@dataclass(frozen=True)
class Board:
    """A square board from (−1, −1) top left to (1, 1) bottom right, transparent where not drawn.

    ``at`` gives a smaller board inside this one, so that a pictogram is drawn once in its own
    unit square and placed anywhere, mirrored if wanted.
    """

    image: Image.Image
    draw: ImageDraw.ImageDraw
    origin: Point  # in pixels
    unit: float  # pixels
    flip: int = 1

    @classmethod
    def blank(cls) -> "Board":
        """A board with nothing on it."""
        side = FACE_PX * OVERSAMPLING
        image = Image.new("RGBA", (side, side))
        return cls(image, ImageDraw.Draw(image), (side / 2, side / 2), side / 2)

    def at(self, x: float, y: float, scale: float, *, mirrored: bool = False) -> "Board":
        """The board centred at (x, y) here, ``scale`` times as large."""
        flip = -self.flip if mirrored else self.flip
        return replace(self, origin=self._pixel((x, y)), unit=self.unit * scale, flip=flip)

    def _pixel(self, point: Point) -> Point:
        x, y = self.origin
        return x + self.flip * point[0] * self.unit, y + point[1] * self.unit

    def polygon(self, points: Sequence[Point], fill: Colour, rounding: float = 0.0) -> None:
        """A filled polygon; ``rounding`` is the radius by which it grows with round corners."""
        self.draw.polygon([self._pixel(p) for p in points], fill)
        if rounding:
            self.stroke([*points, points[0]], 2 * rounding, fill)

    def box(self, low: Point, high: Point, fill: Colour, rounding: float = 0) -> None:
        """A filled rectangle from top left to bottom right, its corners rounded inwards."""
        x0, y0, x1, y1 = (
            low[0] + rounding,
            low[1] + rounding,
            high[0] - rounding,
            high[1] - rounding,
        )
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, rounding)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A filled circle."""
        (cx, cy), r = self._pixel((x, y)), radius * self.unit
        self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill)

    def stroke(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line through the points with round joints and ends."""
        for start, end in pairwise(points):
            self.draw.line([self._pixel(start), self._pixel(end)], fill, round(width * self.unit))
        for x, y in points:
            self.disc(x, y, width / 2, fill)

    def arrow(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line that ends in an arrow head, whose tip is one ``width`` past the last point."""
        (x0, y0), (x1, y1) = points[-2:]
        length = math.hypot(x1 - x0, y1 - y0)
        dx, dy = (x1 - x0) / length * width, (y1 - y0) / length * width
        self.stroke(points[:-1], width, fill)
        self.draw.line(
            [self._pixel(points[-2]), self._pixel((x1, y1))], fill, round(width * self.unit)
        )
        head = [(x1 + 1.3 * dx, y1 + 1.3 * dy), (x1 - 1.25 * dy, y1 + 1.25 * dx)]
        self.polygon([*head, (x1 + 1.25 * dy, y1 - 1.25 * dx)], fill)

    def text(self, x: float, y: float, words: str, height: float, fill: Colour) -> None:
        """Bold words centred at (x, y); ``height`` is that of a capital letter."""
        pixels = round(height * self.unit / 0.71)  # the cap height of Pillow's own font
        self.draw.text(
            self._pixel((x, y)),
            words,
            fill,
            _font(pixels),
            anchor="mm",
            stroke_width=pixels * 0.035,
            stroke_fill=fill,
        )

    def face(self) -> Image.Image:
        """What was drawn, RGBA, ``FACE_PX`` square."""
        return self.image.reduce(OVERSAMPLING)


def arc(radius: float, start: float, end: float, x: float = 0, y: float = 0) -> list[Point]:
    """Points on a circle from ``start`` to ``end`` degrees, 0 at the right, clockwise on screen."""
    steps = max(3, round(abs(end - start) / 6))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def bow(start: Point, bend: Point, end: Point, steps: int = 14) -> list[Point]:
    """Points on the quadratic Bézier curve from ``start`` to ``end``, pulled towards ``bend``."""
    parameters = [i / steps for i in range(steps + 1)]
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * bend[0] + t**2 * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * bend[1] + t**2 * end[1],
        )
        for t in parameters
    ]
