"""Detection quality: how well one outlier score tells familiar (ID) from unfamiliar (OOD) images.

Every number here is a function of two count vectors along the sorted distinct scores, so the
same few lines serve the observed scores and, with a leading axis, all bootstrap replicates.
"""

from dataclasses import dataclass, fields
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.arrays import AsList

Floats = Annotated[NDArray[np.float64], AsList(np.float64)]
Counts = NDArray[np.int64]

CURVE_POINTS = 500


@dataclass(frozen=True)
class Metrics:
    """One detector on one OOD set, all fractions in 0..1. An image is accepted when score <= t.

    fpr95: share of OOD accepted at the smallest ID score that accepts at least 95 % of ID
        (ID positive: ODIN, ReAct, GSC; scikit-learn's `roc_curve` of -score without dropped
        points, read at its first point with a true positive rate of at least 0.95).
    fpr95_ood_positive: share of ID flagged (score >= t) at the largest OOD score that flags at
        least 95 % of OOD (pytorch-ood, OpenOOD).
    auroc: chance that an OOD image scores higher than an ID image, ties count half.
    aupr_in, aupr_out: average precision as in scikit-learn, with ID or OOD as positive.
    detection_error: least mean of the rejected ID share and the accepted OOD share.
    """

    fpr95: float
    fpr95_ood_positive: float
    auroc: float
    aupr_in: float
    aupr_out: float
    detection_error: float


METRICS: tuple[str, ...] = tuple(field.name for field in fields(Metrics))


@dataclass(frozen=True)
class Curve:
    """Points of the ROC and precision-recall curves, in order of a rising acceptance threshold.

    threshold: accepted when score <= threshold; the first is -inf and accepts nothing.
    tpr, fpr: shares of ID and of OOD accepted; both start at 0 and end at 1.
    precision_in: share of ID among the accepted images, over the recall `tpr`.
    precision_out: share of OOD among the flagged images, over the recall `1 - fpr`.
    ood_images: how many OOD images there were, so that 1 / `ood_images` is the finest step of fpr.
    """

    threshold: Floats
    tpr: Floats
    fpr: Floats
    precision_in: Floats
    precision_out: Floats
    ood_images: int


def metrics(id_scores: ArrayLike, ood_scores: ArrayLike) -> Metrics:
    """Compare outlier scores `[N]` of ID images with `[M]` of OOD images (higher = more OOD).

    Raises GscError when a side is empty or holds a score that is not finite.
    """
    _, id_counts, ood_counts = tally(
        checked(id_scores, "familiar (ID)"), checked(ood_scores, "unfamiliar (OOD)")
    )
    return Metrics(**{name: float(value) for name, value in measure(id_counts, ood_counts).items()})


def curve(id_scores: ArrayLike, ood_scores: ArrayLike, points: int = CURVE_POINTS) -> Curve:
    """ROC and precision-recall points for a chart: at most `points` (>= 6) of the true ones.

    What is too many is thinned: the corners of the ROC curve evenly along it and on a logarithmic
    scale of accepted OOD images, all points on that of accepted and of flagged images, over which
    precision bends where the ROC curve is straight. The ends and the point that accepts 95 % of ID
    (see `Metrics`) are always there. Raises GscError as `metrics` does.
    """
    values, id_counts, ood_counts = tally(
        checked(id_scores, "familiar (ID)"), checked(ood_scores, "unfamiliar (OOD)")
    )
    accepted_id = np.concatenate([[0], np.cumsum(id_counts)])
    accepted_ood = np.concatenate([[0], np.cumsum(ood_counts)])
    keep = _thinned(accepted_id, accepted_ood, points)
    threshold = np.concatenate([[-np.inf], values])[keep]
    tp, fp = accepted_id[keep], accepted_ood[keep]
    flagged_ood, flagged_id = fp[-1] - fp, tp[-1] - tp
    return Curve(
        threshold=threshold,
        tpr=tp / tp[-1],
        fpr=fp / fp[-1],
        precision_in=_share(tp, tp + fp),
        precision_out=_share(flagged_ood, flagged_ood + flagged_id),
        ood_images=int(fp[-1]),
    )


def checked(scores: ArrayLike, whose: str) -> Floats:
    """Scores as float64 `[N]`; raises GscError when they are empty, not flat or not finite."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise GscError(f"There are no {whose} scores to evaluate: give one score per image.")
    if not np.isfinite(array).all():
        raise GscError(
            f"{np.count_nonzero(~np.isfinite(array)):,} of the {array.size:,} {whose} scores are "
            "not finite numbers: leave this detector out or change its settings."
        )
    return array


def rising(scores: Floats) -> Floats:
    """The scores `[N]` sorted: the very array where it is, so that millions are sorted once."""
    return scores if (scores[1:] >= scores[:-1]).all() else np.sort(scores)


def tally(id_scores: Floats, ood_scores: Floats) -> tuple[Floats, Counts, Counts]:
    """Distinct scores `[U]`, rising, and how many ID and OOD images have each. One sort."""
    pooled = np.concatenate([id_scores, ood_scores])
    order = np.argsort(pooled, kind="stable")  # which only merges two sides that are sorted
    ranked = pooled[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    accepted = last + 1
    accepted_id = np.cumsum(order < len(id_scores))[last]
    accepted_ood = accepted - accepted_id
    return ranked[last], np.diff(accepted_id, prepend=0), np.diff(accepted_ood, prepend=0)


def measure(id_counts: Counts, ood_counts: Counts) -> dict[str, Floats]:
    """All `METRICS` from the counts `[..., U]` of ID and OOD images along rising scores."""
    accepted_id, accepted_ood = np.cumsum(id_counts, axis=-1), np.cumsum(ood_counts, axis=-1)
    n, m = accepted_id[..., -1], accepted_ood[..., -1]
    flagged_id = n[..., None] - accepted_id + id_counts
    flagged_ood = m[..., None] - accepted_ood + ood_counts
    # An OOD image beats every ID image below it, and half of those that tie with it.
    beaten = np.einsum("...u,...u->...", ood_counts, 2 * accepted_id - id_counts)
    gap = accepted_id * (1 / n)[..., None] - accepted_ood * (1 / m)[..., None]
    return {
        "fpr95": _at_95(accepted_id, accepted_ood),
        "fpr95_ood_positive": _at_95(flagged_ood[..., ::-1], flagged_id[..., ::-1]),
        "auroc": beaten / (2 * n * m),
        "aupr_in": _average_precision(id_counts, accepted_id, accepted_ood),
        "aupr_out": _average_precision(ood_counts, flagged_ood, flagged_id),
        "detection_error": 0.5 - 0.5 * np.maximum(gap.max(axis=-1), 0.0),
    }


def _at_95(positive: Counts, negative: Counts) -> Floats:
    """Share of negatives taken at the first point that takes at least 95 % of the positives."""
    # Whole numbers: 0.95 * 20 > 19 in floating point must not cost an image.
    enough = 20 * positive >= 19 * positive[..., -1:]
    first = enough.argmax(axis=-1)[..., None]
    taken = np.take_along_axis(negative, first, axis=-1)[..., 0]
    share: Floats = taken / negative[..., -1]
    return share


def _average_precision(steps: Counts, positive: Counts, negative: Counts) -> Floats:
    """Mean precision over the positives; `steps` are those that each threshold adds."""
    precision = positive / np.maximum(positive + negative, 1)
    average: Floats = np.einsum("...u,...u->...", precision, steps) / steps.sum(axis=-1)
    return average


def _share(part: Counts, whole: Counts) -> Floats:
    """part / whole, and 1 where nothing was taken (the usual end of a precision-recall curve)."""
    return np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)


def _thinned(x: Counts, y: Counts, points: int) -> NDArray[np.intp]:
    """Indices of at most `points` of the staircase (x, y), both ends and x at 95 % included."""
    if len(x) <= points:
        return np.arange(len(x))
    dx, dy = np.diff(x), np.diff(y)
    bend = np.flatnonzero(dx[1:] * dy[:-1] != dx[:-1] * dy[1:]) + 1
    corners = np.concatenate([[0], bend, [len(x) - 1]])
    always = np.array([0, (20 * x >= 19 * x[-1]).argmax(), len(x) - 1])
    along = x[corners] / x[-1] + y[corners] / y[-1]
    accepted = x + y
    steps = (points - len(always)) // 6
    parts = [
        always,
        corners[_brackets(along, steps)],
        corners[_brackets(np.log1p(y[corners]), steps)],
        _even(np.log1p(accepted), steps),
        _even(-np.log1p(accepted[-1] - accepted), steps),
    ]
    return np.unique(np.concatenate(parts))


def _even(position: Floats, steps: int) -> NDArray[np.intp]:
    """Indices of the points next to `steps` even steps along the rising `position`."""
    inner = np.linspace(position[0], position[-1], steps + 2)[1:-1]
    return np.searchsorted(position, inner).clip(max=len(position) - 1)


def _brackets(position: Floats, steps: int) -> NDArray[np.intp]:
    """Indices of the corners on either side of `steps` even steps along the rising `position`.

    Taking both sides keeps the two ends of every long straight run, so no corner is cut.
    """
    after = _even(position, steps)
    return np.concatenate([np.maximum(after - 1, 0), after])
