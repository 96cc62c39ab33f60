"""How often each interval holds, as a page of the documentation.

    python -m benchmarks.coverage > docs/intervals.md

About half an hour of one core. What there was before has a fifth of the repeats; where what was
taken seems to miss too often, it is drawn again with ten times as many.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from zlib import crc32

from benchmarks.coverage import others
from benchmarks.coverage.page import page
from benchmarks.coverage.population import population
from benchmarks.coverage.simulation import Cell, Coverage, Method, coverage
from gsc_core.evaluation import auroc, bootstrap, fpr
from gsc_core.evaluation.auroc import Placements
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.metrics import Floats

LEVEL = 0.95
SHAPES = (("normal", None), ("skewed", None), ("mixed", 12), ("mixed", 6))
TRUTHS = (0.6, 0.9, 0.98, 0.999)
SIZES = ((20, 20), (50, 50), (100, 100), (500, 500), (500, 20), (2000, 100))
DRAWS = 200


@dataclass(frozen=True)
class Compared:
    """A way to intervals. slow: it has a fifth of the repeats."""

    name: str
    method: Method
    slow: bool = False


def _analytic(id_scores: Floats, ood_scores: Floats) -> dict[str, Interval]:
    ood = {"x": ood_scores}
    return {
        "auroc": auroc.interval(Placements.of(id_scores, ood_scores), LEVEL),
        "fpr95": fpr.fpr95(id_scores, ood, LEVEL)["x"],
        "fpr95_ood_positive": fpr.fpr95_ood_positive(id_scores, ood, LEVEL)["x"],
    }


def _drawn(id_scores: Floats, ood_scores: Floats) -> dict[str, Interval]:
    seed = crc32(id_scores.tobytes())  # else one seed's luck is taken for the method's
    return bootstrap.intervals(id_scores, {"x": ood_scores}, DRAWS, seed, LEVEL)["x"]


METHODS = (
    Compared("taken", _analytic),
    Compared("taken", _drawn),
    Compared("before", others.former, slow=True),
    Compared("DeLong, logit", lambda x, y: {"auroc": others.logit_delong(x, y)}),
    Compared("Newcombe", lambda x, y: {"auroc": others.newcombe(x, y)}),
)


def cells(repeats: int) -> Iterator[Cell]:
    """Every method on every population and size."""
    for (shape, levels), truth in product(SHAPES, TRUTHS):
        drawn = population(shape, truth, levels)
        for (n, m), one in product(SIZES, METHODS):
            often = max(repeats // 5, 50) if one.slow else repeats
            by_metric = coverage(drawn, one.method, n=n, m=m, repeats=often)
            if one.name == "taken" and any(map(_is_doubtful, by_metric.values())):
                again = 10 * repeats  # of a seed of its own: else the worst chance would be kept
                by_metric = coverage(drawn, one.method, n=n, m=m, repeats=again, seed=1)
            for metric, found in by_metric.items():
                yield Cell(metric, one.name, shape, levels, truth, n, m, found)


def _is_doubtful(found: Coverage) -> bool:
    return found.held < LEVEL or max(found.above, found.below) > 0.03


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    print(page(list(cells(repeats)), repeats), end="")


if __name__ == "__main__":
    main()
