"""The map of a run's images, ready to be drawn: a place and a look for each point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gsc_core.charts.scores import short
from gsc_core.run import gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.image_map import ImageMap
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.set_colours import ID_COLOUR, MORE_COLOURS, OOD_COLOURS, SetColours
from gsc_core.run.stored import Run

MAX_CLASSES = 10
STEPS = 10_000  # across the map: finer than a pixel of any screen, and short to send
OTHER_COLOUR = "#B9C4C8"
GOOD, BAD = "#009E73", "#D55E00"
# Cividis, readable with any colour vision, in ten steps (Nuñez, Anderton and Renslow 2018)
LOW_TO_HIGH = (
    *("#00224E", "#123570", "#3B496C", "#575D6D", "#707173"),
    *("#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838"),
)

SET, CLASS, DECISION, SCORE = "set", "class", "decision", "score"
COLOURINGS = {
    SET: "Set",
    CLASS: "Classified as",
    DECISION: "Accepted or flagged",
    SCORE: "Outlier score",
}
Shape = Literal["dot", "ring", "diamond"]


@dataclass(frozen=True)
class Look:
    """What points of one kind have in common, and what the legend calls them."""

    name: str
    colour: str
    shape: Shape = "dot"


@dataclass(frozen=True)
class Drawing:
    """The map as the browser is sent it: `N` points, each list but `looks` and `classes` so long.

    `x` and `y` are whole numbers from 0 to `STEPS`, in the same scale, y upwards; `rows` those of
    `scores.parquet`; `look` and `predicted` are places in `looks` and `classes`; `sure` is the
    classifier's confidence in percent. `scale` names both ends of a scale of colours, which the
    looks are steps of.
    """

    x: list[int]
    y: list[int]
    rows: list[int]
    look: list[int]
    predicted: list[int]
    sure: list[int]
    looks: list[Look]
    classes: list[str]
    scale: tuple[str, str] | None = None

    def as_data(self) -> dict[str, object]:
        """Plain lists and words."""
        return asdict(self)


@dataclass(frozen=True)
class Frame:
    """Where a map lies: its lower left corner, and the length of the longer side."""

    x: float
    y: float
    side: float

    @classmethod
    def of(cls, of: ImageMap) -> Frame:
        """Around all points."""
        if not len(of.rows):
            return cls(0, 0, 1)
        low, high = of.places.min(axis=0), of.places.max(axis=0)
        return cls(float(low[0]), float(low[1]), float((high - low).max()) or 1.0)

    def steps(self, places: NDArray[np.float32]) -> NDArray[np.int64]:
        """Places `[N,2]` in whole steps."""
        corner = np.array([self.x, self.y])
        steps: NDArray[np.float64] = np.rint((places - corner) / self.side * STEPS)
        return steps.astype(np.int64)

    def places(self, steps: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """The reverse."""
        per_step = self.side / STEPS
        return [(self.x + x * per_step, self.y + y * per_step) for x, y in steps]


@dataclass(frozen=True)
class _Group:
    """The points, of all of the map, that have one look."""

    look: Look
    points: NDArray[np.bool_]


def image_map(run: Run, of: ImageMap, decision: Decision, colouring: str) -> Drawing:
    """A point for each image of the map; `colouring` is one of `COLOURINGS`.

    Where sets are not told by colour, familiar images are dots and unfamiliar ones diamonds.
    """
    groups = [*_GROUPS[colouring](run, of, decision)]
    look = np.zeros(len(of.rows), dtype=np.int64)
    for place, group in enumerate(groups):
        look[group.points] = place
    classes, predicted = np.unique(run.column("predicted")[of.rows], return_inverse=True)
    sure = np.rint(100 * run.column("confidence")[of.rows]).astype(np.int64)
    x, y = Frame.of(of).steps(of.places).T
    return Drawing(
        x=x.tolist(),
        y=y.tolist(),
        rows=of.rows.tolist(),
        look=look.tolist(),
        predicted=predicted.tolist(),
        sure=sure.tolist(),
        looks=[group.look for group in groups],
        classes=[short(gallery.class_name(run, int(index))) for index in classes],
        scale=_SCALE if colouring == SCORE else None,
    )


def _by_set(run: Run, of: ImageMap, _: Decision) -> Iterator[_Group]:
    colours = SetColours.of(run.ood_sets)
    sets = run.members().by_name
    # calibration images are familiar ones too: the same colour, but hollow
    looks = {
        CALIBRATION: Look("Calibration images", ID_COLOUR, "ring"),
        ID: Look("Familiar images", ID_COLOUR),
    }
    looks |= {name: Look(short(name), colours.colour(name)) for name in run.ood_sets}
    for name, look in looks.items():
        if name in sets:
            yield _Group(look, np.isin(of.rows, sets[name]))


def _by_class(run: Run, of: ImageMap, _: Decision) -> Iterator[_Group]:
    predicted = run.column("predicted")[of.rows]
    classes, counts = np.unique(predicted, return_counts=True)
    largest = classes[np.argsort(-counts, kind="stable")[:MAX_CLASSES]]
    palette = OOD_COLOURS + MORE_COLOURS
    rest = ~np.isin(predicted, largest)
    if rest.any():
        yield _Group(Look("other classes", OTHER_COLOUR), rest)
    for colour, index in zip(palette, largest, strict=False):
        name = short(gallery.class_name(run, int(index)))
        yield _Group(Look(name, colour), predicted == index)


def _by_decision(run: Run, of: ImageMap, decision: Decision) -> Iterator[_Group]:
    flagged = run.column(decision.detector)[of.rows] > np.float64(decision.value)
    unfamiliar = np.isin(of.rows, run.rows_of(run.ood_sets))
    kinds: tuple[tuple[str, Shape, NDArray[np.bool_], bool], ...] = (
        ("Familiar", "dot", ~unfamiliar, False),
        ("Unfamiliar", "diamond", unfamiliar, True),
    )
    for kind, shape, of_kind, right in kinds:
        for verdict, points in (("accepted", ~flagged), ("flagged", flagged)):
            good = (verdict == "flagged") is right
            look = Look(f"{kind}, {verdict}", GOOD if good else BAD, shape)
            yield _Group(look, points & of_kind)


_SCALE = ("lower than all familiar images", "higher than all")


def _by_score(run: Run, of: ImageMap, decision: Decision) -> Iterator[_Group]:
    """The share of familiar images with a lower score: scores themselves have no common scale."""
    scores = run.column(decision.detector)
    familiar = np.sort(scores[run.rows_of([ID])])
    share = np.searchsorted(familiar, scores[of.rows]) / len(familiar)
    steps = len(LOW_TO_HIGH)
    step = np.minimum((share * steps).astype(int), steps - 1)
    for place, (low, high) in enumerate(pairwise(range(0, 101, 100 // steps))):
        name = f"{low} to {high} % of familiar images score lower"
        yield _Group(Look(name, LOW_TO_HIGH[place]), step == place)


_GROUPS = {SET: _by_set, CLASS: _by_class, DECISION: _by_decision, SCORE: _by_score}
