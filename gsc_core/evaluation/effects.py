"""What a threshold does: how many images of a set pass, and how sure that is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from gsc_core.errors import GscError
from gsc_core.evaluation.interval import Interval, doubt_of_mean

LEVEL = 0.95  # of every interval here


@dataclass(frozen=True)
class Acceptance:
    """How many of `total` images are accepted, and the exact 95 % interval of the share that would.

    The bounds are Clopper and Pearson's (1934): right for any count, zero included.
    """

    accepted: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share that is accepted, 0..1."""
        return self.accepted / self.total

    @property
    def flagged(self) -> int:
        """How many are stopped."""
        return self.total - self.accepted


@dataclass(frozen=True)
class Effect:
    """What a threshold does on test images: ID, each OOD set, and the OOD sets' mean share."""

    threshold: float
    id: Acceptance
    ood: Mapping[str, Acceptance]

    @property
    def ood_share(self) -> float:
        """Share of OOD images that are accepted, each set weighing the same, 0..1."""
        return float(np.mean([acceptance.share for acceptance in self.ood.values()]))

    @property
    def ood_interval(self) -> Interval:
        """The same with its 95 % interval, put together from the sets' exact bounds (Zou and
        Donner, 2008)."""
        share = self.ood_share
        below = doubt_of_mean(np.array([one.share - one.low for one in self.ood.values()]))
        above = doubt_of_mean(np.array([one.high - one.share for one in self.ood.values()]))
        return Interval(share, max(0.0, share - below), min(1.0, share + above))

    def only(self, ood_set: str | None) -> "Effect":
        """The effect on one OOD set; None keeps all."""
        if ood_set is None:
            return self
        return replace(self, ood={ood_set: self.ood[ood_set]})


def effect(threshold: float, id_scores: ArrayLike, ood_by_set: Mapping[str, ArrayLike]) -> Effect:
    """What is accepted at a threshold, of test scores `[N]` and of each OOD set `[M]`."""
    ood = {name: acceptance(threshold, scores) for name, scores in ood_by_set.items()}
    return Effect(threshold, acceptance(threshold, id_scores), ood)


def acceptance(threshold: float, scores: ArrayLike) -> Acceptance:
    """How many of some images are accepted, with the exact interval."""
    values = np.asarray(scores, dtype=np.float64)
    if not values.size:
        raise GscError("There are no images to try a threshold on: choose a set that has some.")
    return counted(int(np.count_nonzero(values <= threshold)), values.size)


def counted(k: int, n: int) -> Acceptance:
    """`k` of `n > 0` images, with the exact interval."""
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Acceptance(k, n, low, high)
