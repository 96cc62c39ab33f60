"""Which detector of a run is best where, and which others these images do not tell from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.paired import COMPARED, tied
from gsc_core.run.document import Result
from gsc_core.run.stored import Run, RunKey
from gsc_core.run.summary import Summary

HIGHER_IS_BETTER = frozenset({"auroc", "aupr_in", "aupr_out"})
"""The metrics of which more is better; of the others less is."""


@dataclass(frozen=True)
class Winner:
    """The best detector on an OOD set (or on `"mean"`), and those that may be as good.

    `level` is in order of the metric: detectors that a paired test on the same images, with Holm's
    correction for all pairs, does not call different from the best; None where there is no test for
    the metric or no scores to test. `of` counts the detectors that were measured there.
    """

    ood_set: str
    best: Result
    level: tuple[str, ...] | None
    of: int


def winners(run: Run, metric: str) -> tuple[Winner, ...]:
    """For the mean and each OOD set: which detector is best, and which may be as good.

    A detector that points the wrong way only wins, or is as good, where nothing else was measured.
    """
    winning = []
    for ood_set in (MEAN, *run.ood_sets):
        rows = [row for row in run.rows if row.ood_set == ood_set and metric in row.metrics]
        ranked = sorted(rows, key=lambda row: _rank(run, row, metric))
        if ranked:
            best = ranked[0]
            compared = [
                row.detector
                for row in ranked
                if (row.detector in run.inverted) == (best.detector in run.inverted)
            ]
            level = _tied(run.key, metric, ood_set, tuple(compared))
            winning.append(Winner(ood_set, best, level, len(ranked)))
    return tuple(winning)


@lru_cache(maxsize=128)
def _tied(
    key: RunKey, metric: str, ood_set: str, compared: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Which of some detectors are not shown to differ from the first, the best of them."""
    if metric not in COMPARED:
        return None
    stored = Summary.of(key.run)
    if stored is not None and ood_set in (by_set := stored.level.get(metric, {})):
        return by_set[ood_set]
    try:
        scores = {detector: key.run.scores(detector) for detector in compared}
    except GscError:  # damaged or gone: the table has no need of them
        return None
    tests = tied(scores, compared[0], metric, ood_set)
    return tuple(detector for detector, test in tests.items() if not test.differs())


def _rank(run: Run, row: Result, metric: str) -> tuple[bool, float, str]:
    value = row.metrics[metric].value
    return (
        row.detector in run.inverted,
        -value if metric in HIGHER_IS_BETTER else value,
        row.detector,
    )
