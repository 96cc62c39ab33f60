"""The figures of one detector, as an audit stores them and as a revision counts them again."""

from collections.abc import Mapping

from numpy.typing import ArrayLike

from gsc_core.evaluation.intervals import evaluate
from gsc_core.run.document import Result
from gsc_core.run.layout import ID


def results_of(
    detector: str, scores: Mapping[str, ArrayLike], repeats: int, seed: int
) -> tuple[Result, ...]:
    """Every metric with its interval on each OOD set and on their `"mean"`.

    `scores` are outlier scores of `"id"` and of each OOD set; `repeats` as `evaluate` has it, and
    raises GscError as that does.
    """
    ood = {name: values for name, values in scores.items() if name != ID}
    by_set = evaluate(scores[ID], ood, repeats, seed)
    return tuple(
        Result(detector=detector, ood_set=ood_set, metrics=row) for ood_set, row in by_set.items()
    )
