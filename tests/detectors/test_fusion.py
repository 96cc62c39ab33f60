"""Learned weights against closed forms, brute force over a simplex, and simulated promises."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import beta

from gsc_core.detectors.fusion import FEWEST, Fusion
from gsc_core.evaluation.conformal import keep_id


def drawn(n: int, shift: list[float], mixing: np.ndarray, seed: int) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_normal((n, len(shift))) @ mixing.T + np.array(shift))


def uncorrelated(columns: int) -> np.ndarray:
    return np.eye(columns)


def test_of_independent_scores_the_weights_are_those_of_fisher() -> None:
    """Mean difference over variance: 1 : 2 : 0, whatever the unit of a score."""
    units = torch.tensor([1.0, 100.0, 0.01], dtype=torch.float64)
    ours = drawn(40_000, [0, 0, 0], uncorrelated(3), 0) * units
    far = drawn(40_000, [0.5, 1, 0], uncorrelated(3), 1) * units
    weights = Fusion.of(ours, far).weights.numpy()
    np.testing.assert_allclose(weights, [1 / 3, 2 / 3, 0], atol=0.02)


def test_a_score_that_surrogates_turn_around_counts_nothing() -> None:
    ours = drawn(500, [0, 0], uncorrelated(2), 0)
    far = drawn(500, [1, -1], uncorrelated(2), 1)
    assert Fusion.of(ours, far).weights.tolist() == [1, 0]


def test_copies_share_a_weight() -> None:
    """Five copies of one score and one other, as good: the copies do not outvote it fivefold."""
    ours, far = (drawn(5000, [d, d], uncorrelated(2), seed) for d, seed in ((0, 0), (1, 1)))
    copied = [torch.cat([x[:, :1].expand(-1, 5), x[:, 1:]], dim=1) for x in (ours, far)]
    weights = Fusion.of(*copied).weights
    assert float(weights[:5].sum()) < 2.5 * float(weights[5])
    assert float(weights[:5].max() - weights[:5].min()) < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_no_other_weights_separate_better(seed: int) -> None:
    """Brute force over a grid of the simplex, of mean difference over shrunk spread."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((3, 3))
    shift = generator.uniform(-0.5, 1, 3)
    ours, far = drawn(400, [0, 0, 0], mixing, seed), drawn(400, list(shift), mixing, seed + 50)
    fusion = Fusion.of(ours, far)
    z_ours, z_far = (fusion.scale.standardised(x).clamp(-4, 4).numpy() for x in (ours, far))
    difference, covariance = z_far.mean(0) - z_ours.mean(0), np.cov(z_ours.T)
    covariance = 0.5 * covariance + 0.5 * np.diag(np.diag(covariance))

    def separation(w: np.ndarray) -> float:
        return float(w @ difference / np.sqrt(w @ covariance @ w))

    steps = [np.array(w) / 40 for w in product(range(41), repeat=3) if sum(w) == 40]
    assert separation(fusion.weights.numpy()) >= max(map(separation, steps)) - 1e-9


def test_where_nothing_tells_or_little_is_there_all_weigh_the_same() -> None:
    ours = drawn(100, [0, 0], uncorrelated(2), 0)
    worse = drawn(100, [-3, -3], uncorrelated(2), 1)
    better = drawn(100, [3, 0], uncorrelated(2), 1)
    for far in (None, worse, better[: FEWEST - 1]):
        fusion = Fusion.of(ours, far)
        assert not fusion.learned
        assert fusion.weights.tolist() == [0.5, 0.5]
    assert not Fusion.of(ours[: FEWEST - 1], better).learned
    assert Fusion.of(ours[:FEWEST], better[:FEWEST]).learned


@pytest.mark.slow
@pytest.mark.parametrize("same", [1.0, 0.5, 0.0], ids=["same", "half", "other"])
def test_the_promise_holds_for_weights_that_are_given(same: float) -> None:
    """Learned before, from all, half or none of the images that a threshold is set on."""
    n, columns, draws, others = 40, 10, 250, 500
    kept, in_sample = [], []
    for draw in range(draws):
        generator = torch.Generator().manual_seed(draw)

        def images(count: int, shift: float = 0.0, g: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(count, columns, generator=g, dtype=torch.float64) + shift

        before, surrogates = images(n), images(n, 0.3)
        given = Fusion.of(before, surrogates)
        count = round(same * n)
        calibration = torch.cat([before[:count], images(n - count)])
        fusion = replace(Fusion.of(calibration, None), weights=given.weights)
        was_there = torch.arange(n) < count
        scores = fusion.without(calibration, surrogates, was_there)
        test = fusion(images(others)).numpy()
        kept.append(np.mean(test <= keep_id(scores.numpy(), 0.95)))
        in_sample.append(np.mean(test <= keep_id(fusion(calibration).numpy(), 0.95)))
    # of 40 the 39th smallest keeps 39/41 on average; three standard errors of the mean
    error = 3 * np.std(kept) / draws**0.5
    assert abs(np.mean(kept) - 39 / 41) < error + 0.004
    if same == 1.0:
        assert np.mean(in_sample) < 0.94  # what it would be without


def test_a_score_without_spread_breaks_nothing() -> None:
    ours = torch.cat([drawn(100, [0], uncorrelated(1), 0), torch.full((100, 1), 3.0)], dim=1)
    far = torch.cat([drawn(100, [2], uncorrelated(1), 1), torch.full((100, 1), 3.0)], dim=1)
    fusion = Fusion.of(ours, far)
    assert bool(fusion(far).isfinite().all())
    assert float(fusion.weights[0]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 100, 500])
def test_the_conformal_promise_holds_though_weights_are_learned_on_the_same_images(n: int) -> None:
    """400 draws of 10 correlated scores: the mean share accepted keeps the promised 95 %.

    It is 95 % to 95 % + 1/(n+1) where no weights are learned; the tolerance is four standard
    errors of the mean over the draws, and a point more where fewer images teach worse weights.
    """
    generator = np.random.default_rng(7)
    mixing = np.eye(10) + 0.5 * generator.standard_normal((10, 10))
    fresh = drawn(20_000, [0] * 10, mixing, 99)
    shares, in_sample = [], []
    for seed in range(400):
        ours = drawn(n, [0] * 10, mixing, 1000 + seed)
        far = drawn(n, [0.7] * 10, mixing, 50_000 + seed)
        fusion = Fusion.of(ours, far)
        of_fresh = fusion(fresh)
        for scores, accepted in (
            (Fusion.held_out(ours, far), shares),
            (fusion(ours), in_sample),
        ):
            threshold = keep_id(scores.numpy(), 0.95)
            accepted.append(float((of_fresh <= threshold).double().mean()))
    tolerance = 4 * np.std(shares) / np.sqrt(len(shares))
    assert 0.95 - tolerance <= np.mean(shares) <= 0.95 + 1 / (n + 1) + 0.01 + tolerance
    # Over all draws, what is learned from the images themselves is too sure of them.
    assert np.mean(in_sample) < np.mean(shares)
    assert np.mean(in_sample) < 0.95 - tolerance or n > 40
    # Of single draws 95 % would lie within the band that the number of images allows; where 40
    # teach the weights as well, 88 % do, and nearly all others accept more than was promised.
    rank = math.ceil(0.95 * (n + 1))
    low, high = beta.ppf([0.025, 0.975], rank, n + 1 - rank)
    inside = np.mean([low <= share <= high for share in shares])
    assert inside > (0.85 if n == 40 else 0.92)
    assert np.mean([share < low for share in shares]) < 0.04
