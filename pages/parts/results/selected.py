"""Which images a press on a chart of Results means."""

import math
from collections.abc import Iterator
from typing import Any

from gsc_core.charts.scores import Bars
from gsc_core.run.layout import ID
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Scored, Subset


def of_bar(detector: str, bars: Bars, event: Any) -> Iterator[Subset]:
    """The images that a bar of the histogram counts, and those of the bar that lies over it."""
    for point in event.selection.get("points", ())[:1]:
        for name in bars.beside(point["curve_number"]):
            yield Scored(detector, name, *bars.between(point["point_index"]))


def of_point(run: Run, detector: str, event: Any) -> Iterator[Subset]:
    """At the threshold of a point of the ROC curve: what is missed, and the false alarms."""
    for point in event.selection.get("points", ())[:1]:
        threshold = _number(point.get("customdata"))
        if threshold is not None:
            names = sorted(SetColours.of(run.ood_sets).ood_sets)
            yield Scored(detector, names[point["curve_number"]], -math.inf, threshold)
            yield Scored(detector, ID, threshold, math.inf)


def _number(said: object) -> float | None:
    """A point's custom data as a number; None where it has none."""
    value = said[0] if isinstance(said, list) and said else said
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
