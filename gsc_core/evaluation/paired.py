"""How sure a difference is: two detectors, or two settings of one, that judge the same images.

An image that is hard for one is mostly hard for the other, so their mistakes rise and fall
together and two intervals that overlap say little. Here each metric is written as a mean over
images of what each adds to it; a difference of two detectors is then a mean of differences.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from gsc_core.evaluation import auroc, fpr
from gsc_core.evaluation.interval import (
    MEAN,
    Interval,
    at_least,
    doubt_of_mean,
    least_share,
    most_share,
)
from gsc_core.evaluation.metrics import Floats, checked

COMPARED = ("fpr95", "auroc")

UNSEEN = 4.0
"""Of an image that none was seen to differ on: with it, none among n is as sure as exact bounds."""


@dataclass(frozen=True, eq=False)
class Influence:
    """A metric, and what each image adds to it, up to a constant of the kind.

    of_id: of each ID image `[N]`. of_ood: of each image `[M]`, by OOD set. free: the degrees of
    freedom with which the variance of `of_id` is known; 0 where it is not.
    """

    value: float
    of_id: Floats
    of_ood: tuple[Floats, ...]
    free: float

    def less(self, other: "Influence") -> "Influence":
        """The difference to another detector's, on the same images in the same order."""
        return Influence(
            self.value - other.value,
            self.of_id - other.of_id,
            tuple(a - b for a, b in zip(self.of_ood, other.of_ood, strict=True)),
            min(self.free, other.free),
        )

    def error(self) -> tuple[float, float]:
        """Standard error of a difference, and its degrees of freedom (Satterthwaite, 1946).

        Where the two differ on few images or none, one is counted in that was not seen.
        """
        if not self.free:
            return math.inf, 1.0
        sets = len(self.of_ood)
        parts = [(_variance(self.of_id), self.free)]
        parts += [(_variance(of_set) / sets**2, len(of_set) - 1.0) for of_set in self.of_ood]
        seen = sum(variance for variance, _ in parts)
        fewest = min(len(self.of_id), sum(map(len, self.of_ood)))
        differing = _number(self.of_id) + _number(np.concatenate(self.of_ood))
        unseen = UNSEEN / fewest**2 * 2 / (2 + differing)
        weight = sum(variance**2 / max(free, 1.0) for variance, free in parts)
        return math.sqrt(seen + unseen), (seen + unseen) ** 2 / max(weight, 1e-300)


@dataclass(frozen=True, eq=False)
class Measured:
    """A detector on some images: by metric of `COMPARED` and OOD set (and their mean)."""

    id_scores: Floats
    ood: Mapping[str, Floats]
    influences: Mapping[str, Mapping[str, Influence]]

    def intervals(self, level: float = 0.95) -> dict[str, dict[str, Interval]]:
        """The detector's own metrics, with the intervals of `intervals.evaluate`."""
        of_fpr = fpr.fpr95(self.id_scores, self.ood, level)
        of_auroc = auroc.intervals(self.id_scores, self.ood, level)
        return {name: {"fpr95": of_fpr[name], "auroc": of_auroc[name]} for name in of_fpr}


def measure(id_scores: ArrayLike, ood: Mapping[str, ArrayLike]) -> Measured:
    """Measure a detector: outlier scores `[N]` of ID and `[M]` of each OOD set, higher = OOD.

    The scores of all detectors come in the same order of images. Raises GscError for scores that
    are empty or not finite.
    """
    of_id = checked(id_scores, "familiar (ID)")
    of_ood = {name: checked(scores, f'"{name}" (OOD)') for name, scores in ood.items()}
    influences = {}
    for metric, influence in (("fpr95", _of_fpr95), ("auroc", _of_auroc)):
        by_set = {name: influence(of_id, scores) for name, scores in of_ood.items()}
        influences[metric] = by_set | {MEAN: _mean(list(by_set.values()))}
    return Measured(of_id, of_ood, influences)


def difference(
    one: Measured, other: Measured, level: float = 0.95
) -> dict[str, dict[str, Interval]]:
    """`COMPARED` metrics of `one` less those of `other`, for each OOD set and their mean.

    The FPR's interval is never narrower than what is exact for the images on which the two
    disagree. A detector differs from itself by nothing.
    """
    if one is other:
        nothing = Interval(0.0, 0.0, 0.0)
        return {name: dict.fromkeys(COMPARED, nothing) for name in [*one.ood, MEAN]}
    by_set = {
        name: {
            metric: _interval(
                one.influences[metric][name].less(other.influences[metric][name]), level
            )
            for metric in COMPARED
        }
        for name in [*one.ood, MEAN]
    }
    for name, doubt in _disagreement(one, other, level).items():
        by_set[name]["fpr95"] = at_least(by_set[name]["fpr95"], *doubt)
    return by_set


@dataclass(frozen=True)
class Tested:
    """A detector against a reference on the same images.

    difference: its metric less the reference's, with an interval for this pair alone. p: how likely
    so large a difference is between equally good detectors, corrected for all that were compared
    (Holm, 1979).
    """

    difference: Interval
    p: float

    def differs(self, level: float = 0.95) -> bool:
        """Whether it is worse or better than the reference; else these images cannot tell."""
        return self.p <= 1 - level


def against(
    scores: Mapping[str, Mapping[str, ArrayLike]],
    reference: str,
    metric: str,
    ood_set: str = MEAN,
    level: float = 0.95,
) -> dict[str, Tested]:
    """Every other detector against one that was named before the images were seen.

    `scores`: of each detector, as `Run.scores` gives them: `"id"` `[N]` and each OOD set `[M]`.
    `metric` is one of `COMPARED`. Of equally good detectors, any is called different in at most 5 %
    of audits. For one that these images chose, see `tied`.
    """
    influences = _influences(scores, metric, ood_set)
    others = [name for name in influences if name != reference]
    pairs = [influences[name].less(influences[reference]) for name in others]
    return _tested(others, pairs, level)


def tied(
    scores: Mapping[str, Mapping[str, ArrayLike]],
    best: str,
    metric: str,
    ood_set: str = MEAN,
    level: float = 0.95,
) -> dict[str, Tested]:
    """The same against the detector that was best on these very images.

    It may be any of them, so all pairs are corrected for.
    """
    influences = _influences(scores, metric, ood_set)
    others = [name for name in influences if name != best]
    pairs = [influences[name].less(influences[best]) for name in others]
    more = math.comb(len(influences), 2) - len(pairs)
    return _tested(others, pairs, level, more)


def holm(p: Sequence[float], more: int = 0) -> list[float]:
    """p-values as they are after Holm's correction (1979), with `more` tests not shown here."""
    order = np.argsort(p, kind="stable")
    ranked = np.asarray(p, dtype=np.float64)[order]
    corrected = np.maximum.accumulate(ranked * (np.arange(len(ranked), 0, -1) + more))
    adjusted = np.empty(len(ranked))
    adjusted[order] = np.minimum(corrected, 1)
    return [float(one) for one in adjusted]


def _tested(
    names: Sequence[str], pairs: Sequence[Influence], level: float, more: int = 0
) -> dict[str, Tested]:
    adjusted = holm([_p(pair) for pair in pairs], more)
    return {
        name: Tested(_interval(pair, level), p)
        for name, pair, p in zip(names, pairs, adjusted, strict=True)
    }


def _influences(
    scores: Mapping[str, Mapping[str, ArrayLike]], metric: str, ood_set: str
) -> dict[str, Influence]:
    """Of each detector; only the OOD sets that are asked for are measured."""
    influence = {"fpr95": _of_fpr95, "auroc": _of_auroc}[metric]

    def of(by_set: Mapping[str, ArrayLike]) -> Influence:
        sets = [name for name in by_set if name != "id"] if ood_set == MEAN else [ood_set]
        of_id = checked(by_set["id"], "familiar (ID)")
        return _mean([influence(of_id, checked(by_set[s], f'"{s}" (OOD)')) for s in sets])

    return {name: of(by_set) for name, by_set in scores.items()}


def _of_auroc(id_scores: Floats, ood_scores: Floats) -> Influence:
    placed = auroc.Placements.of(id_scores, ood_scores)
    return Influence(placed.auroc, placed.of_id, (placed.of_ood,), len(id_scores) - 1.0)


def _of_fpr95(id_scores: Floats, ood_scores: Floats) -> Influence:
    """An OOD image adds itself where it is accepted; an ID image moves the threshold.

    How much is accepted for each rank that the threshold moves is read at two standard deviations
    of that rank (Woodruff, 1952); the fewer images lie between, the less sure it is. Of so few ID
    images that the FPR has no upper bound, nothing is known of how surely it is measured.
    """
    images, first = len(id_scores), fpr.first_rank(len(id_scores))
    reach = 2 * math.sqrt(fpr.TAKEN * (1 - fpr.TAKEN) * images)
    low, high = max(math.floor(first - reach), 0), min(math.ceil(first + reach), images - 1)
    ranked = np.partition(id_scores, [low, first, high])  # those three are where sorting puts them
    between = max(high - low, 1)
    gained = np.mean((ood_scores > ranked[low]) & (ood_scores <= ranked[high]))
    accepted = ood_scores <= ranked[first]
    return Influence(
        float(np.mean(accepted)),
        -float(gained) * images / between * (id_scores <= ranked[first]),
        (accepted.astype(np.float64),),
        between / 2 if fpr.is_bounded(images, 0.95) else 0.0,
    )


def _mean(by_set: Sequence[Influence]) -> Influence:
    """Over OOD sets that share their ID images, each weighing the same."""
    return Influence(
        float(np.mean([one.value for one in by_set])),
        np.asarray(reduce(np.add, (one.of_id for one in by_set)) / len(by_set)),
        tuple(of_set for one in by_set for of_set in one.of_ood),
        min(one.free for one in by_set),
    )


def _disagreement(one: Measured, other: Measured, level: float) -> dict[str, tuple[float, float]]:
    """How far below and above a difference of FPRs its exact bounds lie, by OOD set and mean.

    A difference is the share that is accepted with `one` alone, less the share that is with `other`
    alone; the exact bounds of the two make those of the difference (Zou and Donner, 2008).
    """
    tail, doubts = (1 - level) / 2, {}
    for name, scores in one.ood.items():
        a, b = (of.influences["fpr95"][name].of_ood[0] > 0 for of in (one, other))
        counts, images = np.array([np.sum(a & ~b), np.sum(b & ~a)]), len(scores)
        below = counts / images - least_share(counts, images, tail)
        above = most_share(counts, images, tail) - counts / images
        doubts[name] = math.hypot(below[0], above[1]), math.hypot(above[0], below[1])
    of_mean = [doubt_of_mean(np.array(side)) for side in zip(*doubts.values(), strict=True)]
    return doubts | {MEAN: (of_mean[0], of_mean[1])}


def _interval(pair: Influence, level: float) -> Interval:
    error, free = pair.error()
    reach = error * -float(stdtrit(free, (1 - level) / 2))
    return Interval(pair.value, max(pair.value - reach, -1.0), min(pair.value + reach, 1.0))


def _p(pair: Influence) -> float:
    """Two-sided, by Student's t."""
    error, free = pair.error()
    return float(2 * stdtr(free, -abs(pair.value) / error))


def _number(differences: Floats) -> float:
    """How many images differ, those that differ little counting little (Kish, 1965)."""
    whole = float(np.sum(differences**2))
    return float(np.sum(np.abs(differences))) ** 2 / whole if whole else 0.0


def _variance(values: Floats) -> float:
    """Of their mean; 0 of a single image, which shows none."""
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
