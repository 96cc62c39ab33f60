"""What any threshold trades between ID and OOD images, reduced to what figures and sliders show."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gsc_core.evaluation.histogram import ScoreAxis, SmallFloats
from gsc_core.evaluation.metrics import Floats, rising

BINS = 80
POINTS = 240  # thresholds along the curve, from each of the two groups
STEPS = 500  # of a slider over the scores


@dataclass(frozen=True)
class Tradeoff:
    """ID scores against OOD sets, of which several are averaged with equal weight.

    of_id, of_ood: shares of the images in each bin of `axis` `[bins]`. fpr, tpr: shares of OOD and
    of ID images that are accepted `[T]`, both rising. low, high, step: of a slider over the scores.
    """

    axis: ScoreAxis
    of_id: SmallFloats
    of_ood: SmallFloats
    fpr: Floats
    tpr: Floats
    low: float
    high: float
    step: float

    @classmethod
    def of(cls, id_scores: Floats, ood_sets: Mapping[str, Floats]) -> "Tradeoff":
        """Of outlier scores `[N]` of ID images and `[M]` of each OOD set; each is sorted once."""
        of_id, ood = rising(id_scores), [rising(scores) for scores in ood_sets.values()]
        axis = ScoreAxis.of([of_id, *ood], BINS)
        fpr, tpr = _mean_roc(of_id, ood)
        return cls(
            axis,
            axis.shares(of_id),
            np.mean([axis.shares(scores) for scores in ood], axis=0).astype(np.float32),
            fpr,
            tpr,
            *_slider([of_id, *ood]),
        )


def _mean_roc(of_id: Floats, ood: list[Floats]) -> tuple[Floats, Floats]:
    """Points (share of OOD, share of ID that are accepted) `[T]`, OOD averaged over the sets."""
    steps = np.linspace(0, 1, POINTS)
    pooled = [np.quantile(scores, steps, method="inverted_cdf") for scores in ood]
    thresholds = np.unique(
        np.concatenate(
            [
                np.quantile(of_id, steps, method="inverted_cdf"),
                np.quantile(np.concatenate(pooled), steps, method="inverted_cdf"),
            ]
        )
    )
    fpr = np.mean([_accepted(scores, thresholds) for scores in ood], axis=0)
    return np.append(0.0, fpr), np.append(0.0, _accepted(of_id, thresholds))


def _accepted(scores: Floats, thresholds: Floats) -> Floats:
    """Share of rising `scores` `[N]` at or below each of the `thresholds` `[T]`."""
    return np.searchsorted(scores, thresholds, side="right") / len(scores)


def _slider(sets: list[Floats]) -> tuple[float, float, float]:
    """Round ends and a round step, over all but the farthest thousandth of each set."""
    ends = np.array([np.quantile(scores, [0.001, 0.999]) for scores in sets])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not high > low:
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    step = float(10.0 ** np.floor(np.log10((high - low) / STEPS)))
    step *= next(m for m in (1, 2, 5, 10) if m * step * STEPS >= high - low)
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step), step
