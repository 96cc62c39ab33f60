"""How often each interval holds, as a page of the documentation.

    python -m benchmarks.coverage --repeats 500 > docs/intervals.md

Some minutes of one core. A metric whose interval draws a bootstrap has a fifth of the repeats.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.coverage import others
from benchmarks.coverage.page import page
from benchmarks.coverage.population import population
from benchmarks.coverage.simulation import Cell, Method, coverage
from gsc_core.evaluation import auroc, bootstrap, fpr
from gsc_core.evaluation.auroc import Placements
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats

LEVEL = 0.95
SHAPES = (("normal", None), ("skewed", None), ("mixed", 12))
TRUTHS = (0.6, 0.9, 0.98, 0.999)
SIZES = ((20, 20), (50, 50), (100, 100), (500, 500), (500, 20))
DRAWS = 200


@dataclass(frozen=True)
class Compared:
    """A way to an interval of a metric. slow: it has a fifth of the repeats."""

    metric: str
    name: str
    method: Method
    slow: bool = False


def _placed(id_scores: Floats, ood_scores: Floats) -> Interval:
    return auroc.interval(Placements.of(id_scores, ood_scores), LEVEL)


def _of(function: Callable[..., dict[str, Interval]]) -> Method:
    """The interval of the one OOD set there is."""
    return lambda id_scores, ood_scores: function(id_scores, {"x": ood_scores}, LEVEL)["x"]


def _former(metric: str, id_scores: Floats, ood_scores: Floats) -> Interval:
    return others.former(id_scores, ood_scores)[metric]


def _drawn(metric: str, id_scores: Floats, ood_scores: Floats) -> Interval:
    return bootstrap.intervals(id_scores, {"x": ood_scores}, DRAWS, 0, LEVEL)["x"][metric]


METHODS = (
    Compared("auroc", "taken: exact share of effective images", _placed),
    Compared("auroc", "DeLong on the logit scale", others.logit_delong),
    Compared("auroc", "Newcombe's score interval", others.newcombe),
    Compared("auroc", "before: percentile bootstrap", partial(_former, "auroc"), slow=True),
    Compared("fpr95", "taken: rank and share, exact", _of(fpr.fpr95)),
    Compared("fpr95", "before: exact share, percentiles", partial(_former, "fpr95"), slow=True),
    Compared("fpr95_ood_positive", "taken: rank and share, exact", _of(fpr.fpr95_ood_positive)),
    *(
        Compared(metric, name, partial(method, metric), slow=True)
        for metric in bootstrap.BOOTSTRAPPED
        for name, method in (
            ("taken: mended bootstrap", _drawn),
            ("before: percentile bootstrap", _former),
        )
    ),
)


def cells(repeats: int, sizes: Sequence[tuple[int, int]]) -> Iterator[Cell]:
    """Every method on every population and size."""
    for shape, levels in SHAPES:
        for truth in TRUTHS:
            drawn = population(shape, truth, levels)
            for n, m in sizes:
                for one in METHODS:
                    often = max(repeats // 5, 50) if one.slow else repeats
                    found = coverage(drawn, one.metric, one.method, n=n, m=m, repeats=often)
                    yield Cell(one.metric, one.name, shape, levels, truth, n, m, found)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=500)
    repeats = parser.parse_args().repeats
    print(page(list(cells(repeats, SIZES)), repeats), end="")


if __name__ == "__main__":
    main()
