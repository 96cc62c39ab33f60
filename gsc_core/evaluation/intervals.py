"""All metrics of one detector and how sure each is, by the method that was seen to hold for it.

`docs/intervals.md` has how often each interval covers the truth.
"""

from collections.abc import Mapping

from numpy.typing import ArrayLike

from gsc_core.errors import GscError
from gsc_core.evaluation import auroc, bootstrap, fpr
from gsc_core.evaluation.interval import MEAN, Interval
from gsc_core.evaluation.metrics import METRICS, checked, rising

__all__ = ["MEAN", "Interval", "Intervals", "evaluate"]

Intervals = dict[str, dict[str, Interval]]
"""Of each OOD set and of `"mean"`, by metric."""


def evaluate(
    id_scores: ArrayLike,
    ood: Mapping[str, ArrayLike],
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """All metrics of one detector with their intervals, for each OOD set and their mean.

    `id_scores` `[N]` and each `ood[name]` `[M]` are outlier scores, higher = more OOD. The ID
    images are the same for all sets, so the interval of `"mean"` counts their doubt once. Only the
    intervals of average precision and the detection error need the `repeats` draws of a bootstrap,
    which take nine tenths of the time.

    Raises GscError for empty or non-finite scores, no OOD set, a set named "mean", fewer than two
    repeats or a level outside 0..1.
    """
    if not ood or MEAN in ood:
        raise GscError('Give at least one OOD set, and none of them named "mean".')
    if repeats < 2 or not 0 < level < 1:
        raise GscError("An interval needs at least 2 repeats and a level between 0 and 1.")
    # Sorted here, once: in order, millions are looked up and merged in a tenth of the time.
    of_id = rising(checked(id_scores, "familiar (ID)"))
    of_ood = {name: rising(checked(scores, f'"{name}" (OOD)')) for name, scores in ood.items()}
    analytic = {
        "fpr95": fpr.fpr95(of_id, of_ood, level),
        "fpr95_ood_positive": fpr.fpr95_ood_positive(of_id, of_ood, level),
        "auroc": auroc.intervals(of_id, of_ood, level),
    }
    drawn = bootstrap.intervals(of_id, of_ood, repeats, seed, level)
    by_set = {
        name: {metric: one[name] for metric, one in analytic.items()} | drawn[name]
        for name in [*ood, MEAN]
    }
    return {name: {metric: row[metric] for metric in METRICS} for name, row in by_set.items()}
