"""Where to set the alarm: rules that turn scores into a threshold, and what a threshold does.

A picture passes when its outlier score is at most the threshold; what scores higher is flagged.
A threshold is set on calibration pictures and its effect is told on test pictures.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import beta, betabinom

from gsc_core.errors import GscError
from gsc_core.evaluation.metrics import Floats, checked

LEVEL = 0.95  # of every interval here
Share = Annotated[float, Field(gt=0, lt=1)]
_ROUNDING = 9  # decimals: 0.7 * 10 is 7.000000000000001, which must not cost an image


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at: outlier scores of calibration images and of each OOD set."""

    calibration: Floats
    strangers: Mapping[str, Floats]


class KeepId(BaseModel):
    """Let a share of ID pictures through; needs calibration scores alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["keep_id"] = "keep_id"
    share: Share
    needs_strangers: ClassVar[bool] = False

    def threshold(self, evidence: Evidence) -> float:
        """See `keep_id`."""
        return keep_id(evidence.calibration, self.share)


class CatchOod(BaseModel):
    """Flag a share of OOD pictures, each set weighing the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["catch_ood"] = "catch_ood"
    share: Share
    needs_strangers: ClassVar[bool] = True

    def threshold(self, evidence: Evidence) -> float:
        """See `catch_ood`."""
        return catch_ood(evidence.strangers, self.share)


class Youden(BaseModel):
    """The largest gap between ID and OOD let through (Youden, 1950), each set weighing the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["youden"] = "youden"
    needs_strangers: ClassVar[bool] = True

    def threshold(self, evidence: Evidence) -> float:
        """See `youden`."""
        return youden(evidence.calibration, evidence.strangers)


class Typed(BaseModel):
    """A value that a person chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["typed"] = "typed"
    value: Annotated[float, Field(allow_inf_nan=False)]
    needs_strangers: ClassVar[bool] = False

    def threshold(self, evidence: Evidence) -> float:
        """The value, whatever the evidence."""
        return self.value


Rule = Annotated[KeepId | CatchOod | Youden | Typed, Field(discriminator="name")]
"""How a threshold is found. A new rule is one class and one word here."""


@dataclass(frozen=True)
class Passed:
    """How many of `total` pictures pass, and the exact 95 % interval of the share that would.

    The bounds are Clopper and Pearson's (1934): right for any count, zero included.
    """

    passed: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share that passes, 0..1."""
        return self.passed / self.total

    @property
    def flagged(self) -> int:
        """How many are stopped."""
        return self.total - self.passed


@dataclass(frozen=True)
class Effect:
    """What a threshold does on test pictures: ID, each OOD set, and the OOD sets' mean share."""

    threshold: float
    known: Passed
    strangers: Mapping[str, Passed]

    @property
    def strangers_share(self) -> float:
        """Share of OOD pictures that pass, each set weighing the same, 0..1."""
        return float(np.mean([found.share for found in self.strangers.values()]))

    def only(self, ood_set: str | None) -> "Effect":
        """The effect on one OOD set; None keeps all."""
        if ood_set is None:
            return self
        return replace(self, strangers={ood_set: self.strangers[ood_set]})


@dataclass(frozen=True)
class Promise:
    """What keeping a share of ID promises for new pictures that are like the calibration ones.

    share: at least this passes on average over calibration sets (conformal prediction).
    low, high: the 95 % band in which the passing share of `on` new pictures then falls.
    """

    share: float
    low: float
    high: float
    on: int


def keep_id(calibration: ArrayLike, share: float) -> float:
    """The ⌈(n+1)·share⌉-th smallest of n calibration scores `[n]` (split conformal prediction).

    A new ID picture, exchangeable with those, then passes with a chance of at least `share`. When n
    is too small for that (see `smallest_calibration`) no score is high enough: infinity, by which
    everything passes. Raises GscError for a share outside 0..1 and scores that cannot be used.
    """
    scores = checked(calibration, "calibration")
    rank = _rank(len(scores), share)
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf


def smallest_calibration(share: float) -> int:
    """How many calibration images it takes to promise that this share of ID passes."""
    _check(share)
    return math.ceil(round(share / (1 - share), _ROUNDING))


def promise(calibration: int, share: float, on: int) -> Promise:
    """What `keep_id` promises from so many calibration images, looked at on `on` new ones.

    The passing share is beta distributed over calibration sets, Beta(k, n+1−k) with k the rank, and
    the count among new images beta-binomial (Vovk, 2012); ties only make more pass.
    """
    rank = _rank(calibration, share)
    if rank > calibration:
        return Promise(share, 1.0, 1.0, on)
    below = np.cumsum(betabinom(on, rank, calibration + 1 - rank).pmf(np.arange(on + 1)))
    low, high = np.searchsorted(below, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Promise(share, float(low) / on, min(float(high) / on, 1.0), on)


def catch_ood(ood_by_set: Mapping[str, ArrayLike], share: float) -> float:
    """The highest threshold that flags at least `share` of OOD, averaged over the sets."""
    _check(share)
    scores, weights = _pooled(ood_by_set)
    order = np.argsort(-scores)
    caught = np.cumsum(weights[order])
    last = int(np.searchsorted(caught, share - 10**-_ROUNDING))
    lowest_caught = scores[order[min(last, len(scores) - 1)]]
    # One step of float32, in which scores are kept: any finer one is lost when they are compared.
    return float(np.nextafter(np.float32(lowest_caught), np.float32(-np.inf)))


def youden(calibration: ArrayLike, ood_by_set: Mapping[str, ArrayLike]) -> float:
    """The lowest score at which ID that passes outweighs OOD that passes (mean share) the most."""
    known = checked(calibration, "calibration")
    scores, weights = _pooled(ood_by_set)
    scores = np.concatenate([known, scores])
    gains = np.concatenate([np.full(len(known), 1 / len(known)), -weights])
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    gap = np.round(np.cumsum(gains[order])[ends], _ROUNDING)
    return float(ranked[ends[int(gap.argmax())]])


def effect(threshold: float, id_scores: ArrayLike, ood_by_set: Mapping[str, ArrayLike]) -> Effect:
    """What passes at a threshold of test scores `[N]` and of each OOD set `[M]`."""
    strangers = {name: passed(threshold, scores) for name, scores in ood_by_set.items()}
    return Effect(threshold, passed(threshold, id_scores), strangers)


def passed(threshold: float, scores: ArrayLike) -> Passed:
    """How many of some pictures pass, with the exact interval."""
    values = np.asarray(scores, dtype=np.float64)
    if not values.size:
        raise GscError("There are no pictures to try a threshold on: choose a set that has some.")
    k, n = int(np.count_nonzero(values <= threshold)), values.size
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Passed(k, n, low, high)


def _rank(images: int, share: float) -> int:
    _check(share)
    return math.ceil(round((images + 1) * share, _ROUNDING))


def _check(share: float) -> None:
    if not 0 < share < 1:
        raise GscError("A share to keep or to catch lies between 0 and 100 %, both excluded.")


def _pooled(ood_by_set: Mapping[str, ArrayLike]) -> tuple[Floats, Floats]:
    """All OOD scores `[M]` and weights that sum to one, the same for each set."""
    if not ood_by_set:
        raise GscError("This rule looks at strangers: choose a run that has a set of them.")
    sets = [checked(scores, f'"{name}" (OOD)') for name, scores in ood_by_set.items()]
    weights = [np.full(len(scores), 1 / (len(sets) * len(scores))) for scores in sets]
    return np.concatenate(sets), np.concatenate(weights)
