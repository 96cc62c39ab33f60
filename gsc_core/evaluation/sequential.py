"""Has the share of flagged images risen above what calibration promised? Asked after every one.

Of n calibration images f scored above the threshold. That leaves the true share p of flagged
familiar images unknown. Evidence against "the new images are like the calibration ones" is an
e-process (Ramdas, Grünwald, Vovk and Shafer, 2023): it begins at 1, and under that hypothesis it
ever reaches 1/alpha with a chance of at most alpha (Ville, 1939), however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betaincc, betainccinv, betaln, xlog1py, xlogy

from gsc_core.errors import SpecError
from gsc_core.evaluation.metrics import Floats

_PRIOR = 0.5  # Jeffreys' prior of a share is Beta(½, ½)
_SURELY = 0.75  # of the stake; more than half, or a share a little above the bound is never found
_MOST_IMAGES = 10**9
_SMALLEST = 1e-290  # below it floats lose their digits


@dataclass(frozen=True)
class Calibrated:
    """Of `images` calibration images `flagged` scored above the threshold.

    searched: the threshold was chosen by how these very images fall around it (Youden, F1, cost),
    so that their count flatters it. Raises SpecError for impossible counts.
    """

    flagged: int
    images: int
    searched: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.flagged <= self.images or not 0 < self.images <= _MOST_IMAGES:
            raise SpecError(
                f"{self.flagged} of {self.images} calibration images cannot be above the "
                "threshold: export the detector again."
            )

    def most(self, alpha: float) -> float:
        """What calibration promises: p is at most this, with a chance of 1 − alpha/2.

        Clopper and Pearson's bound (1934). A threshold that was searched for has one that holds
        for all thresholds at once (Dvoretzky, Kiefer and Wolfowitz, 1956; Massart, 1990).
        """
        f, n = self.flagged, self.images
        if self.searched:
            return min(1.0, f / n + math.sqrt(math.log(2 / alpha) / (2 * n)))
        return 1.0 if f == n else float(betainccinv(f + 1, n - f, alpha / 2))


def log_evidence(
    calibrated: Calibrated, flagged: ArrayLike, seen: ArrayLike, alpha: float
) -> Floats:
    """Natural log of the evidence for a rise after `flagged` of `seen` new images, each `[T]`.

    The share has risen when this reaches log(1/alpha), and stays so. It depends on counts alone:
    never on how images came in batches, and more flagged ones never lower it.

    With a conformal threshold, p is Beta(f+1, n−f) distributed over calibration sets (Vovk, 2012),
    so the counts of familiar images are beta-binomial, and the error is that of calibration and
    of watching together. A quarter of the stake is on Jeffreys' prior above what calibration
    showed, which finds large rises soon. The rest is on that Beta beyond the bound of `most`: its
    chance by now over its chance before. Any share above the bound is thereby found in the end.

    For a threshold that was fixed beforehand the error was computed, and stays below alpha too
    (docs/watch.md). A `searched` one is held against the bound alone.
    """
    m, total = np.asarray(flagged, np.float64), np.asarray(seen, np.float64)
    f, n, bound = calibrated.flagged, calibrated.images, calibrated.most(alpha)
    if bound >= 1:  # no share is higher: nothing can be told
        return np.zeros(np.broadcast(m, total).shape)
    if calibrated.searched:
        return _log_beyond(m, total, bound, alpha)
    familiar = betaln(f + 1 + m, n - f + total - m) - betaln(f + 1, n - f)
    # From (f+½)/n on, Jeffreys' prior grows relative to Beta(f+1, n−f): evidence is monotone.
    soon = _log_risen(m, total, (f + _PRIOR) / n) - familiar
    surely = _log_tail(f + 1 + m, n - f + total - m, bound) - math.log(alpha / 2)
    evidence: Floats = np.logaddexp(math.log1p(-_SURELY) + soon, math.log(_SURELY) + surely)
    return evidence


def risen(log_evidence: float, alpha: float) -> bool:
    """Whether so much evidence says that the share has risen."""
    return log_evidence >= -math.log(alpha)


def share_between(flagged: int, seen: int, alpha: float) -> tuple[float, float]:
    """Bounds of the new images' share that hold after every image at once, 0..1 each.

    With a chance of 1 − alpha they hold the share at all times, as long as it does not change: a
    confidence sequence from the mixture over Jeffreys' prior (Robbins, 1970; Howard, Ramdas,
    McAuliffe and Sekhon, 2021).
    """
    passed, share = seen - flagged, flagged / max(seen, 1)
    mixture = betaln(flagged + _PRIOR, passed + _PRIOR) - betaln(_PRIOR, _PRIOR)

    def outside(p: float) -> float:
        """Above 0 where the mixture explains the counts 1/alpha times better than p does."""
        return float(mixture - xlogy(flagged, p) - xlog1py(passed, -p) + math.log(alpha))

    least, most = np.finfo(float).tiny, 1 - np.finfo(float).eps
    low = _root(outside, least, share) if flagged else 0.0
    high = _root(outside, share, most) if passed else 1.0
    return low, high


def _log_beyond(m: Floats, total: Floats, bound: float, alpha: float) -> Floats:
    """Log evidence against all shares up to a bound that itself holds but for half of alpha.

    The other half is for watching: evidence of 2/alpha at the bound counts as 1/alpha.
    """
    familiar = xlogy(m, bound) + xlog1py(total - m, -bound)
    evidence: Floats = _log_risen(m, total, bound) - familiar - math.log(2)
    return evidence


def _log_risen(m: Floats, total: Floats, above: float) -> Floats:
    """Log chance of the very sequence, if the share is drawn from Jeffreys' prior over `above`."""
    a, b = m + _PRIOR, total - m + _PRIOR
    drawn = _log_tail(a, b, above) - math.log(betaincc(_PRIOR, _PRIOR, above))
    chance: Floats = betaln(a, b) - betaln(_PRIOR, _PRIOR) + drawn
    return chance


def _log_tail(a: Floats, b: Floats, above: float) -> Floats:
    """Log chance that Beta(a, b) is above; −inf where there is as good as none."""
    tail = betaincc(a, b, above)
    with np.errstate(divide="ignore"):
        log: Floats = np.log(np.where(tail > _SMALLEST, tail, 0))
    return log


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-15))
