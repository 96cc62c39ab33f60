"""Runs against each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gsc_core.evaluation.counts import in_1000
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.evaluation.metrics import Curve, curve
from gsc_core.run import decisions, picking
from gsc_core.run.document import Result
from gsc_core.run.stored import Run
from gsc_core.workspace import runs


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


def compare(runs_compared: Sequence[Run]) -> Comparison:
    """Put runs side by side; a run's label is its title, with its id where titles are the same.

    Raises GscError when a run's scores or its decision are missing or damaged.
    """
    named = dict(zip(_labels(runs_compared), runs_compared, strict=True))
    return Comparison(_overview(named), _pairs(runs_compared), named)


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
