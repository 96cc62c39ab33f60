"""Intervals that were compared and not taken, and the one that there was before."""

from __future__ import annotations

import math
from zlib import crc32

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri, stdtrit

from gsc_core.evaluation.auroc import Placements
from gsc_core.evaluation.interval import Interval, at_least, exact_doubt
from gsc_core.evaluation.metrics import METRICS, Floats, measure, tally

Z = float(ndtri(0.975))
DRAWS = 200


def logit_delong(id_scores: Floats, ood_scores: Floats) -> Interval:
    """DeLong's variance on a logit scale, Student's t by Satterthwaite; of none misplaced exact."""
    placed = Placements.of(id_scores, ood_scores)
    auroc, parts = placed.auroc, (placed.of_id, placed.of_ood)
    of_kind = [np.var(part, ddof=1) / len(part) for part in parts]
    variance = sum(of_kind)
    if not 0 < auroc < 1 or not variance:
        end = 0.025 ** (1 / placed.fewest)
        return Interval(auroc, end, 1.0) if auroc >= 0.5 else Interval(auroc, 0.0, 1 - end)
    free = variance**2 / sum(v**2 / (len(part) - 1) for v, part in zip(of_kind, parts, strict=True))
    reach = -stdtrit(free, 0.025) * math.sqrt(variance) / (auroc * (1 - auroc))
    return Interval(auroc, float(expit(logit(auroc) - reach)), float(expit(logit(auroc) + reach)))


def newcombe(id_scores: Floats, ood_scores: Floats) -> Interval:
    """Newcombe's method 5 (2006): the score interval with Hanley and McNeil's variance."""
    auroc, n, m = Placements.of(id_scores, ood_scores).auroc, len(id_scores), len(ood_scores)
    more = (n + m) / 2 - 1

    def excess(supposed: float, side: float) -> float:
        spread = 1 + more * (1 - supposed) / (2 - supposed) + more * supposed / (1 + supposed)
        variance = supposed * (1 - supposed) * spread / (n * m)
        return auroc - supposed - side * math.sqrt(max(variance, 0))

    tiny = 1e-12
    low = brentq(excess, tiny, auroc, args=(Z,)) if auroc > tiny else 0.0
    high = brentq(excess, auroc, 1 - tiny, args=(-Z,)) if auroc < 1 - tiny else 1.0
    return Interval(auroc, float(low), float(high))


def former(id_scores: Floats, ood_scores: Floats) -> dict[str, Interval]:
    """What there was before: percentiles of a bootstrap, an FPR's never narrower than exact bounds.

    The exact bounds are those of a share whose threshold is certain.
    """
    rng = np.random.default_rng(crc32(id_scores.tobytes()))
    _, *counts = tally(id_scores, ood_scores)
    drawn = [rng.multinomial(of_kind.sum(), of_kind / of_kind.sum(), DRAWS) for of_kind in counts]
    values, spread = measure(*counts), measure(*drawn)
    found = {}
    for metric in METRICS:
        low, high = np.quantile(spread[metric], [0.025, 0.975])
        found[metric] = Interval(float(values[metric]), float(low), float(high))
    for metric, images in (("fpr95", len(ood_scores)), ("fpr95_ood_positive", len(id_scores))):
        below, above = exact_doubt([found[metric].value], [images], 0.95)
        found[metric] = at_least(found[metric], float(below[0]), float(above[0]))
    return found
