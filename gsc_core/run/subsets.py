"""Some images of a run that belong together, by a short text that an address can hold.

What a chart, a map or a check of the sets points at: `copies/textures/id`, `scores/energy/…`. The
text comes from an address, so that it is checked like any other words of a stranger.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar, get_args
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.run.decisions import Part, rows_of_part
from gsc_core.run.gallery import class_name
from gsc_core.run.image_map import ImageMap, principal_map, stored_map
from gsc_core.run.score_table import Rows
from gsc_core.run.set_checks import NearCopies
from gsc_core.run.stored import Run

T = TypeVar("T")

MAX_PICKED = 100  # single images in an address
MAX_CORNERS = 40  # of an area on the map: more would make too long an address
_UNCLEAR = "This address does not name images of this run: choose some on Results or Images."


class Subset(ABC):
    """Images of a run, in the order in which they are shown."""

    kind: ClassVar[str]

    @abstractmethod
    def rows(self, run: Run) -> Rows:
        """Their rows in `scores.parquet`. Raises GscError for what the run does not have."""

    def doubted(self, run: Run) -> list[int]:
        """Of these, the rows whose place in the test is in doubt: all, unless it says otherwise."""
        return [int(row) for row in self.rows(run)]

    @abstractmethod
    def sentence(self, run: Run) -> str:
        """Which images they are, in words that end without a stop."""

    @abstractmethod
    def parts(self) -> Iterator[str]:
        """What `read` makes it of."""

    @classmethod
    @abstractmethod
    def read(cls, *parts: str) -> Self:
        """From its parts. Raises ValueError or TypeError where these are none."""

    @property
    def text(self) -> str:
        """As an address holds it."""
        return "/".join([self.kind, *(quote(part, safe=",") for part in self.parts())])


@dataclass(frozen=True)
class Copies(Subset):
    """Near copies across two sets: each image of the one before that of the other."""

    set: str
    of: str

    kind: ClassVar[str] = "copies"

    def rows(self, run: Run) -> Rows:
        """Pair by pair, the nearest first."""
        pairs = [(pair.row, pair.of) for pair in self._noticed(run).pairs]
        return np.asarray([*dict.fromkeys(np.ravel(pairs).tolist())], dtype=np.intp)

    def doubted(self, run: Run) -> list[int]:
        """The copies, not what they are copies of."""
        return [pair.row for pair in self._noticed(run).pairs]

    def sentence(self, run: Run) -> str:
        """Which sets."""
        return f"Near copies: {_set(self.set)} beside {_set(self.of)}, pair by pair"

    def parts(self) -> Iterator[str]:
        """Both sets."""
        yield self.set
        yield self.of

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From the names of two sets."""
        return cls(*parts)

    def _noticed(self, run: Run) -> NearCopies:
        checks = run.document.set_checks
        copies = () if checks is None else checks.copies
        wanted = (one for one in copies if (one.set, one.of) == (self.set, self.of))
        return _there(next(wanted, None))


@dataclass(frozen=True)
class FamiliarLooking(Subset):
    """Images of an OOD set that look familiar in every respect."""

    set: str

    kind: ClassVar[str] = "familiar-looking"

    def rows(self, run: Run) -> Rows:
        """The most familiar first."""
        checks = run.document.set_checks
        looking = () if checks is None else checks.familiar_looking
        noticed = _there(next((one for one in looking if one.set == self.set), None))
        return np.asarray(noticed.rows, dtype=np.intp)

    def sentence(self, run: Run) -> str:
        """Which set."""
        return f"Unfamiliar images of {self.set} that look familiar in every respect"

    def parts(self) -> Iterator[str]:
        """The set."""
        yield self.set

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From the name of a set."""
        return cls(*parts)


@dataclass(frozen=True)
class DoubtedLabels(Subset):
    """Images whose label is likely wrong."""

    kind: ClassVar[str] = "doubted-labels"

    def rows(self, run: Run) -> Rows:
        """The likeliest first."""
        checks = run.document.set_checks
        noticed = _there(None if checks is None else checks.labels)
        return np.asarray([doubt.row for doubt in noticed.doubts], dtype=np.intp)

    def sentence(self, run: Run) -> str:
        """That they are these."""
        return "Familiar images whose label is likely wrong, the most likely first"

    def parts(self) -> Iterator[str]:
        """None."""
        yield from ()

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From nothing."""
        return cls(*parts)


@dataclass(frozen=True)
class Scored(Subset):
    """Images of a set with scores above `low` and up to `high`.

    The lowest first; the highest where there is no upper end, so that mistakes are the worst first.
    """

    detector: str
    set: str
    low: float
    high: float

    kind: ClassVar[str] = "scores"

    def rows(self, run: Run) -> Rows:
        """As said above."""
        rows = run.rows_of([self.set])
        if self.detector not in run.detectors:
            raise GscError(f"This run has no detector {self.detector}: choose another.")
        scores = run.column(self.detector)[rows].astype(np.float64)
        of_these = (scores > self.low) & (scores <= self.high)
        falling = math.isinf(self.high) and math.isfinite(self.low)
        order = np.argsort((-1) ** falling * scores[of_these], kind="stable")
        return np.asarray(rows[of_these][order], dtype=np.intp)

    def sentence(self, run: Run) -> str:
        """Which set, and between which scores."""
        ends = [f"above {self.low:.4g}"] if math.isfinite(self.low) else []
        ends += [f"up to {self.high:.4g}"] if math.isfinite(self.high) else []
        between = f" {' and '.join(ends)}" if ends else ""
        return f"{_set(self.set, capital=True)} with scores of {self.detector}{between}"

    def parts(self) -> Iterator[str]:
        """Detector, set and both ends, which come back as they are."""
        yield from (self.detector, self.set, repr(self.low), repr(self.high))

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From what `parts` gives."""
        detector, name, low, high = parts
        return cls(detector, name, float(low), float(high))


@dataclass(frozen=True)
class OnMap(Subset):
    """Images inside an area of the map, `fine` or at first; corners are x, y in turn."""

    fine: bool
    corners: tuple[tuple[float, float], ...]

    kind: ClassVar[str] = "map"

    def rows(self, run: Run) -> Rows:
        """In the order of the run."""
        of: ImageMap = _there(stored_map(run)) if self.fine else principal_map(run)
        return of.rows[within(of.places.astype(np.float64), self.corners)]

    def sentence(self, run: Run) -> str:
        """Where they come from."""
        return "The images in the area that was selected on the map"

    def parts(self) -> Iterator[str]:
        """Which map, and the corners with four digits."""
        yield "fine" if self.fine else "coarse"
        yield ",".join(f"{value:.4g}" for corner in self.corners for value in corner)

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From what `parts` gives."""
        which, corners = parts
        values = [float(value) for value in corners.split(",")]
        if not 6 <= len(values) <= 2 * MAX_CORNERS or len(values) % 2:
            raise ValueError("no area")
        if not all(map(math.isfinite, values)):
            raise ValueError("an area without end")
        return cls(which == "fine", tuple(zip(values[::2], values[1::2], strict=True)))

    @classmethod
    def area(cls, fine: bool, x: list[float], y: list[float]) -> Self:
        """An area with corners `x`, `y`, of which so many are taken as an address can hold."""
        steps = np.linspace(0, len(x) - 1, min(len(x), MAX_CORNERS)).round().astype(int)
        return cls(fine, tuple((float(x[at]), float(y[at])) for at in dict.fromkeys(steps)))


@dataclass(frozen=True)
class Classified(Subset):
    """Accepted unfamiliar images that the classifier takes for one class.

    part: which of the unfamiliar images, as `decisions.part_of` has it.
    """

    index: int
    accepted_by: str
    threshold: float
    part: Part = "all"

    kind: ClassVar[str] = "classified"

    def rows(self, run: Run) -> Rows:
        """The lowest score first."""
        rows = np.sort(np.concatenate([*rows_of_part(run, self.part).values()]))
        if self.accepted_by not in run.detectors:
            raise GscError(f"This run has no detector {self.accepted_by}: choose another.")
        scores = run.column(self.accepted_by)[rows].astype(np.float64)
        these = (run.column("predicted")[rows] == self.index) & (scores <= self.threshold)
        return np.asarray(rows[these][np.argsort(scores[these], kind="stable")], dtype=np.intp)

    def sentence(self, run: Run) -> str:
        """Which class."""
        return f"Accepted unfamiliar images that are classified as {class_name(run, self.index)}"

    def parts(self) -> Iterator[str]:
        """Class, detector, threshold and part."""
        yield from (str(self.index), self.accepted_by, repr(self.threshold), self.part)

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From what `parts` gives."""
        index, detector, threshold, name = parts
        part = next(part for part in get_args(Part) if part == name)
        return cls(int(index), detector, float(threshold), part)


@dataclass(frozen=True)
class Picked(Subset):
    """Some single images."""

    images: tuple[int, ...]

    kind: ClassVar[str] = "picked"

    def rows(self, run: Run) -> Rows:
        """As they were picked."""
        if not all(0 <= row < len(run.members().codes) for row in self.images):
            raise GscError(_UNCLEAR)
        return np.asarray(self.images, dtype=np.intp)

    def sentence(self, run: Run) -> str:
        """That they are these."""
        return "The images that were selected"

    def parts(self) -> Iterator[str]:
        """Their rows."""
        yield ",".join(map(str, self.images))

    @classmethod
    def read(cls, *parts: str) -> Self:
        """From what `parts` gives."""
        (rows,) = parts
        images = tuple(int(row) for row in rows.split(","))
        if len(images) > MAX_PICKED:
            raise ValueError("too many")
        return cls(images)


KINDS: tuple[type[Subset], ...] = (
    Copies,
    FamiliarLooking,
    DoubtedLabels,
    Scored,
    OnMap,
    Classified,
    Picked,
)


def subset_of(text: str) -> Subset:
    """The subset that an address names. Raises GscError where it names none."""
    name, *parts = (unquote(part) for part in text.split("/"))
    kind = next((kind for kind in KINDS if kind.kind == name), None)
    if kind is None:
        raise GscError(_UNCLEAR)
    try:
        return kind.read(*parts)
    except (ValueError, TypeError, StopIteration) as error:
        raise GscError(_UNCLEAR) from error


def _there(noticed: T | None) -> T:
    """What is asked for; raises GscError where the run, as it is now, has nothing of that kind."""
    if noticed is None:
        raise GscError("This run no longer has such images: choose some on Results or Images.")
    return noticed


def _set(name: str, *, capital: bool = False) -> str:
    own = {"id": "familiar images", "calibration": "calibration images"}
    words = own.get(name, f"images of {name}")
    return words[0].upper() + words[1:] if capital else words


def within(
    places: NDArray[np.float64], corners: tuple[tuple[float, float], ...]
) -> NDArray[np.bool_]:
    """Which places `[N,2]` lie in a polygon: a ray from there crosses an odd number of sides."""
    x, y = places.T
    result = np.zeros(len(places), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        result ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return result
