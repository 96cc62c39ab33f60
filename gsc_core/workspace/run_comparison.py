"""Detectors against each other in a run, and runs against each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import in_1000
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.evaluation.metrics import Curve, curve
from gsc_core.evaluation.paired import COMPARED, tied
from gsc_core.run import decisions, picking
from gsc_core.run.document import Result
from gsc_core.run.stored import Run, RunKey
from gsc_core.workspace import runs

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


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, each under its label.

    overview: one row a run with its model, its decision's detector, what the decision accepts in
        counts, that detector's FPR95 and AUROC as `Interval`, the classifier's ID accuracy and the
        numbers of images.
    pairs: (detector, OOD set) that every run has, `"mean"` only when all sets are the same.
    runs: the runs by label.
    """

    overview: pd.DataFrame
    pairs: tuple[tuple[str, str], ...]
    runs: dict[str, Run]

    def table(self, metric: str) -> pd.DataFrame:
        """Of each common detector and OOD set (rows) the `Interval` in each run (columns).

        None where a run does not have the metric.
        """
        cells = {
            name: [_row(run, detector, ood_set).metric(metric) for detector, ood_set in self.pairs]
            for name, run in self.runs.items()
        }
        index = pd.MultiIndex.from_tuples(self.pairs, names=["Detector", "Unfamiliar images"])
        return pd.DataFrame(cells, index=index, dtype=object)

    def curves(self, detector: str, ood_set: str) -> dict[str, Curve]:
        """The ROC and precision-recall curve of each run, for `charts.roc`.

        Raises GscError when a run's scores are missing or damaged.
        """
        curves_by_run = {}
        for name, run in self.runs.items():
            scores = run.scores(detector)
            curves_by_run[name] = curve(scores["id"], scores[ood_set])
        return curves_by_run


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


def compare(runs_compared: Sequence[Run]) -> Comparison:
    """Put runs side by side; a run's label is its title, with its id where titles are the same.

    Raises GscError when a run's scores or its decision are missing or damaged.
    """
    named = dict(zip(_labels(runs_compared), runs_compared, strict=True))
    return Comparison(_overview(named), _pairs(runs_compared), named)


@lru_cache(maxsize=128)
def _tied(
    key: RunKey, metric: str, ood_set: str, compared: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Which of some detectors are not shown to differ from the first, the best of them."""
    if metric not in COMPARED:
        return None
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


def _labels(runs_compared: Sequence[Run]) -> list[str]:
    titles = [runs.title(run.id) for run in runs_compared]
    often = Counter(titles)
    return [
        f"{title} ({run.id})" if often[title] > 1 else title
        for title, run in zip(titles, runs_compared, strict=True)
    ]


def _overview(named: dict[str, Run]) -> pd.DataFrame:
    lines: dict[str, dict[str, str | Interval | float | int | None]] = {}
    for name, run in named.items():
        decision = decisions.current(run)
        effect = decisions.effect_of(run, decision)
        metrics = picking.metrics_of(run, decision)[MEAN]
        lines[name] = {
            "Model": run.settings.classifier or "unknown",
            "Detector": decision.detector,
            "Unfamiliar images accepted": f"{in_1000(effect.ood_share)} of 1,000",
            "Familiar images accepted": f"{in_1000(effect.id.share)} of 1,000",
            "FPR95": metrics.get("fpr95"),
            "AUROC": metrics.get("auroc"),
            "ID accuracy": run.id_accuracy,
            "Familiar images": _scored(run, ["id"]),
            "Unfamiliar images": _scored(run, run.ood_sets),
            "Sets of unfamiliar images": len(run.ood_sets),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("Run")


def _scored(run: Run, sets: Sequence[str]) -> int | None:
    if not set(sets) <= run.images.keys():
        return None
    return sum(run.images[name].scored for name in sets)


def _pairs(runs_compared: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """In the order of the first run; a mean over other sets is another quantity, so left out."""
    if not runs_compared:
        return ()
    held = [{(row.detector, row.ood_set) for row in run.rows} for run in runs_compared]
    common = set.intersection(*held)
    same_sets = len({frozenset(run.ood_sets) for run in runs_compared}) == 1
    first = ((row.detector, row.ood_set) for row in runs_compared[0].rows)
    return tuple(pair for pair in first if pair in common and (same_sets or pair[1] != MEAN))


def _row(run: Run, detector: str, ood_set: str) -> Result:
    row = run.row(detector, ood_set)
    assert row is not None  # a common pair
    return row
