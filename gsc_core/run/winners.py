"""Which detector of a run is best where, and which others these images do not tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.paired import COMPARED, tied
from gsc_core.run.document import Result
from gsc_core.run.stored import Run, RunKey, ScoresOf
from gsc_core.run.summary import Question, remembered

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
    return tuple(
        Winner(ood_set, ranked[0], level(run, metric, ood_set, _compared(run, ranked)), len(ranked))
        for ood_set, ranked in _ranked(run, metric).items()
    )


def questions_of(run: Run, metric: str) -> list[Question]:
    """What `winners` asks of all scores."""
    ranked = _ranked(run, metric)
    return [level.about(metric, name, _compared(run, rows)) for name, rows in ranked.items()]


@remembered
def level(run: Run, metric: str, ood_set: str, compared: tuple[str, ...]) -> tuple[str, ...] | None:
    """Which of some detectors are not shown to differ from the first, the best of them."""
    return _level(run.key, metric, ood_set, compared)


@lru_cache(maxsize=128)
def _level(
    key: RunKey, metric: str, ood_set: str, compared: tuple[str, ...]
) -> tuple[str, ...] | None:
    if metric not in COMPARED:
        return None
    try:
        tests = tied(ScoresOf(key.run, compared), compared[0], metric, ood_set)
    except GscError:  # damaged or gone: the table has no need of them
        return None
    return tuple(detector for detector, test in tests.items() if not test.differs())


def _ranked(run: Run, metric: str) -> dict[str, list[Result]]:
    """The rows of the mean and of each OOD set that was measured, the best first."""
    by_set = {
        ood_set: sorted(
            (row for row in run.rows if row.ood_set == ood_set and metric in row.metrics),
            key=lambda row: _rank(run, row, metric),
        )
        for ood_set in (MEAN, *run.ood_sets)
    }
    return {ood_set: rows for ood_set, rows in by_set.items() if rows}


def _compared(run: Run, ranked: Sequence[Result]) -> tuple[str, ...]:
    """The detectors that point the same way as the best, in order."""
    inverted = ranked[0].detector in run.inverted
    return tuple(row.detector for row in ranked if (row.detector in run.inverted) == inverted)


def _rank(run: Run, row: Result, metric: str) -> tuple[bool, float, str]:
    value = row.metrics[metric].value
    return (
        row.detector in run.inverted,
        -value if metric in HIGHER_IS_BETTER else value,
        row.detector,
    )
