"""The gate's own intervals, against brute force and simulation."""

import math

import numpy as np
import pytest
from judged import lost
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial

from gsc_core.evaluation.auroc import surest
from gsc_core.evaluation.effects import counted
from gsc_core.release import intervals


def test_the_paired_interval_is_where_the_score_test_does_not_refuse():
    """The most likely shares under a supposed difference found by search, not by the formula."""

    def statistic(worse: int, better: int, n: int, difference: float) -> float:
        def unlikely(gained: float) -> float:
            lost, same = gained + difference, 1 - 2 * gained - difference
            parts = ((worse, lost), (better, gained), (n - worse - better, same))
            return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        found = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12})
        variance = n * (2 * found.x + difference - difference**2)
        return (worse - better - n * difference) / math.sqrt(variance)

    for worse, better, n in [(12, 2, 50), (0, 7, 40), (9, 9, 30), (1, 0, 500), (30, 5, 35)]:
        found = lost(worse, better, n)
        assert statistic(worse, better, n, found.low) == pytest.approx(1.959964, abs=2e-3)
        assert statistic(worse, better, n, found.high) == pytest.approx(-1.959964, abs=2e-3)


def test_a_paired_interval_at_the_ends():
    square = 1.959964**2
    for n in (1, 20, 500):
        assert lost(0, 0, n).low == pytest.approx(-square / (n + square), abs=1e-6)
        assert lost(0, 0, n).high == pytest.approx(square / (n + square), abs=1e-6)
        assert lost(n, 0, n).low == pytest.approx((n - square) / (n + square), abs=1e-6)
        assert (lost(n, 0, n).high, lost(0, n, n).low) == (1, -1)


@pytest.mark.parametrize(
    ("shares", "most"), [((0.02, 0.01), 0.999), ((0.2, 0.05), 0.965), ((0.4, 0.3), 0.965)]
)
def test_the_paired_interval_holds_what_it_promises(shares, most):
    """Its exact coverage: every outcome of 60 images, weighed by its chance. Rare: held more."""
    n, (worse, better) = 60, shares
    outcomes = [(i, j) for i in range(n + 1) for j in range(n + 1 - i)]
    chance = multinomial(n, [worse, better, 1 - worse - better])
    weight = {each: chance.pmf([*each, n - sum(each)]) for each in outcomes}
    likely = [each for each in outcomes if weight[each] > 1e-7]
    held = [e for e in likely if (f := lost(*e, n)).low <= worse - better <= f.high]
    assert 0.94 <= sum(weight[each] for each in held) <= most


@pytest.mark.slow
def test_the_interval_of_a_mean_of_sets_holds_what_it_promises():
    rng = np.random.default_rng(0)
    truth, totals = np.array([0.02, 0.3, 0.9]), (40, 100, 60)
    held = 0
    for _ in range(2000):
        drawn = rng.binomial(totals, truth)
        found = intervals.mean_share([counted(k, n) for k, n in zip(drawn, totals, strict=True)])
        assert found.value == pytest.approx(np.mean(drawn / totals))
        held += found.low <= truth.mean() <= found.high
    assert binom(2000, 0.95).ppf(1e-4) <= held
    one = counted(3, 20)
    alone = intervals.mean_share([one])
    assert (alone.low, alone.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(
    ("known", "strangers", "pairs"), [(9, [6], 6), (9, [30, 3], 6), (1, [5, 5], 0)]
)
def test_so_many_pairs_prove_no_more(known, strangers, pairs):
    most = surest(known, strangers, 0.95)
    assert most**pairs == pytest.approx(0.025) if pairs else most == 0
