"""From logits to readings, against loops over images and levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from brute_selection import drawn, readings_by_hand
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsc_core.classifier.network import Linear
from gsc_core.detectors.readout import LEVEL_QUANTILES, ReadOut, Scale, levels


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 10**6))
@example(10, 10, 0)  # 90 and 98 of 100: whole numbers
@example(1, 1, 0)
@settings(max_examples=60, deadline=None)
def test_so_many_of_the_features_lie_below_a_level(n: int, d: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(n, d)).round(1).astype(np.float32)
    for kept, level in zip((0.90, 0.95, 0.98), levels(torch.from_numpy(features)), strict=True):
        low, high = (np.quantile(features, kept, method=m) for m in ("inverted_cdf", "higher"))
        up = np.sort(features, axis=None)
        after = up[min(len(up) - 1, np.searchsorted(up, low, side="right"))]
        assert level in (low, high, after)  # of whole numbers the next above is as right
        assert (features < level).mean() <= kept + 1e-9
        assert (features <= level).mean() >= kept


@pytest.mark.slow
def test_levels_of_many_features_are_those_of_all() -> None:
    """Too many to sort: some are left out, but no feature is."""
    features = torch.rand(4200, 1024, generator=torch.Generator().manual_seed(0))
    features[:, 1::2] += 1  # every other feature is stronger
    exact = np.quantile(features.numpy(), LEVEL_QUANTILES)
    assert levels(features) == pytest.approx(tuple(exact), abs=0.002)


@pytest.mark.parametrize("cuts", [(), (0.3,), (-0.2, 0.5, 1.5)])
def test_readings_are_a_loop_over_images_and_levels(cuts: tuple[float, ...]) -> None:
    logits, features, predicted, linear = drawn(7)
    whole, centres = (math.inf, *cuts), torch.randn(1 + len(cuts), 9)
    found = ReadOut(linear, whole, tuple(centres))(logits, features, predicted)
    weight, bias = linear.weight.double().numpy(), linear.bias.double().numpy()
    expected = [
        readings_by_hand(h, c, weight, bias, whole, centres.double().numpy())
        for h, c in zip(features.double().numpy(), predicted.tolist(), strict=True)
    ]
    assert found.shape == (7, 3 * len(whole))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_margin_is_that_of_fdbd() -> None:
    """With rows of one distance from each other, it is the library's score but for a factor."""
    _, features, _, _ = drawn(7)
    linear = Linear(torch.eye(9), torch.zeros(9))
    predicted = features.argmax(dim=1)
    centre = features.mean(dim=0)
    ours = ReadOut(linear, (math.inf,), (centre,))(features, features, predicted)[:, 2]
    gaps = (features.amax(dim=1, keepdim=True) - features).sum(dim=1) / math.sqrt(2)
    theirs = -gaps / 8 / (features - centre).norm(dim=1)
    assert torch.allclose(ours, theirs * math.sqrt(2) * 8 / 9, atol=1e-6)


def test_a_level_above_all_features_changes_nothing() -> None:
    logits, features, predicted, linear = drawn(7)
    centre = features.mean(dim=0)
    found = ReadOut(linear, (math.inf, 1e6), (centre, centre))(logits, features, predicted)
    assert torch.allclose(found[:, 3:], found[:, :3], atol=1e-6)


def test_without_a_linear_map_there_are_two_readings() -> None:
    logits, _, predicted, _ = drawn(7)
    for read_out in (ReadOut(None), ReadOut.of(None, None)):
        assert read_out(logits, None, predicted).shape == (7, 2)
        assert not read_out.caps and read_out.columns(capped=False) == [0, 1]


def test_a_read_out_takes_levels_and_centres_from_the_features() -> None:
    _, features, _, linear = drawn(50)
    found = ReadOut.of(linear, features)
    assert found.cuts == (math.inf, *levels(features))
    for cut, centre in zip(found.cuts, found.centres, strict=True):
        np.testing.assert_allclose(centre, np.minimum(features, cut).mean(axis=0), atol=1e-6)


def test_which_readings_are_averaged() -> None:
    _, features, _, linear = drawn(50)
    found = ReadOut.of(linear, features)
    assert found.columns(capped=False) == [0, 1, 2]
    assert found.columns(capped=True) == list(range(3, 12))
    assert found.columns(capped=False, judging=True) == [0, 1]  # the margin is not judged by
    assert found.columns(capped=True, judging=True) == [2, 3, 4, 5, 6, 7]


def test_a_score_is_the_mean_of_standardised_readings() -> None:
    rng = np.random.default_rng(3)
    sample, others = rng.normal(size=(50, 6)) * np.arange(1, 7), rng.normal(size=(8, 6))
    scale = Scale.of(torch.from_numpy(sample))
    low, middle, high = np.quantile(sample, [0.16, 0.5, 0.84], axis=0)
    standard = (others - middle) / ((high - low) / 2)
    for columns in ([0, 1], [2, 3, 5]):
        found = scale.mean(torch.from_numpy(others), columns)
        np.testing.assert_allclose(found, standard[:, columns].mean(axis=1), rtol=1e-5)


def test_a_single_reading_keeps_its_order() -> None:
    generator = torch.Generator().manual_seed(0)
    one, others = (100 * torch.rand(n, 1, generator=generator) - 7 for n in (40, 25))
    found = Scale.of(one.expand(-1, 4)).mean(others.expand(-1, 4), [1, 3])
    assert torch.equal(found.argsort(), others[:, 0].argsort())


def test_readings_that_never_vary_leave_scores_finite() -> None:
    scale = Scale.of(torch.ones(30, 4))
    assert bool(scale.mean(torch.tensor([[1.0] * 4, [2.0] * 4]), [0, 1]).isfinite().all())
