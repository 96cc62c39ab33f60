"""From one row a split to the figures of the document: means, intervals, ratios, losses. Pure.

A frame has the columns `detector`, `whose`, `split`, `ood_set` ("mean" is the average over the OOD
sets of that split), `fpr95`, `fpr95_ood_positive`, `auroc`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from gsc_core.evaluation.intervals import MEAN

OURS, THEIRS = "ours", "pytorch-ood"
LEFT_OUT = "auto-ensemble"  # with one part left out: no detector of its own
Key = tuple[str, str]  # detector, whose


@dataclass(frozen=True)
class Estimate:
    """A mean over splits and half the width of its interval, which one split does not give."""

    value: float
    half: float | None

    @property
    def low(self) -> float:
        """Lower end; −∞ where there is no interval."""
        return self.value - (math.inf if self.half is None else self.half)


@dataclass(frozen=True)
class Loss:
    """A detector that lets fewer OOD images through than the judged one, and how many points.

    points: difference of the FPR95s, in 0..1, split by split. apart: its interval is above 0.
    """

    ood_set: str
    detector: str
    whose: str
    points: Estimate

    @property
    def apart(self) -> bool:
        """Whether the splits agree."""
        return self.points.low > 0


def t_interval(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean of `values`, one a split, and half of Student's interval at that level."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None)
    spread = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, float(student.ppf((1 + level) / 2, n - 1)) * spread)


def estimates(frame: pd.DataFrame, metric: str) -> dict[Key, dict[str, Estimate]]:
    """By detector, its interval on each OOD set and on their mean."""
    found: dict[Key, dict[str, Estimate]] = {}
    for (detector, whose, ood_set), rows in frame.groupby(["detector", "whose", "ood_set"]):
        of_detector = found.setdefault((str(detector), str(whose)), {})
        of_detector[str(ood_set)] = t_interval(rows.sort_values("split")[metric].tolist())
    return found


def is_single_baseline(detector: str) -> bool:
    """Whether a detector is neither GSC, nor our layer profile, nor made of several."""
    made_of_several = "+" in detector or "ensemble" in detector
    return not (detector.startswith("gsc") or detector == "layers" or made_of_several)


def best_single(frame: pd.DataFrame, ood_set: str) -> tuple[Key, Estimate]:
    """The single baseline, ours or the library's, with the lowest mean FPR95 on a set."""
    found = estimates(frame, "fpr95")
    singles = {key: each[ood_set] for key, each in found.items() if is_single_baseline(key[0])}
    best = min(singles, key=lambda key: (singles[key].value, key))
    return best, singles[best]


def ratio(one: float, other: float) -> float | None:
    """`one` as a multiple of `other`; None when both are 0 or there is nothing to divide by."""
    return one / other if other > 0 else None


def losses(frame: pd.DataFrame, judged: str) -> list[Loss]:
    """Who has a lower FPR95 than our detector `judged`: by set, the largest difference first.

    The difference is taken split by split: both saw the same images.
    """
    wide = frame.pivot_table(index=["ood_set", "split"], columns=["detector", "whose"])["fpr95"]
    found: list[Loss] = []
    for ood_set in sorted(set(frame["ood_set"]), key=lambda name: (name == MEAN, name)):
        of_set = wide.loc[ood_set]
        for detector, whose in of_set.columns:
            less = (of_set[(judged, OURS)] - of_set[(detector, whose)]).dropna()
            if len(less) and less.mean() > 0:
                found.append(Loss(ood_set, detector, whose, t_interval(less.tolist())))
    places = {name: at for at, name in enumerate(dict.fromkeys(each.ood_set for each in found))}
    return sorted(found, key=lambda each: (places[each.ood_set], -each.points.value))
