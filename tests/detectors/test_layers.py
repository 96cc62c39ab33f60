"""The layer profile against scikit-learn, and against leaving each image out by hand."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from small_classifier import world
from torch import Tensor

from gsc_core.detectors.base import Representation
from gsc_core.detectors.layers import Layers, Shape
from gsc_core.errors import Excused


def correlated(images: int, channels: int, seed: int) -> Tensor:
    """Channels that depend on each other and differ in size, around a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    scale = torch.logspace(-2, 2, channels, dtype=torch.float64)
    some = torch.randn(images, channels, generator=generator, dtype=torch.float64)
    return (some @ mixing + 3) * scale


SIZES = [(60, 5), (40, 40), (25, 90)]  # more images than channels, as many, fewer


@pytest.mark.parametrize(("images", "channels"), SIZES)
def test_the_distance_is_that_of_scikit_learns_shrunk_covariance(
    images: int, channels: int
) -> None:
    values, others = correlated(images, channels, 0), correlated(30, channels, 1)
    centre, spread = values.numpy().mean(axis=0), values.numpy().std(axis=0)
    truth = LedoitWolf().fit((values.numpy() - centre) / spread)
    shape, _ = Shape.of(values)
    expected = np.sqrt(truth.mahalanobis((others.numpy() - centre) / spread))
    np.testing.assert_allclose(shape.distance(others).numpy(), expected, rtol=1e-8)


@pytest.mark.parametrize(("images", "channels"), SIZES)
def test_each_image_is_held_out_of_the_distance_it_is_given(images: int, channels: int) -> None:
    values = correlated(images, channels, 2)
    residuals = ((values - values.mean(dim=0)) / values.std(dim=0, correction=0)).numpy()
    part = LedoitWolf(assume_centered=True).fit(residuals).shrinkage_
    even = (residuals**2).sum() / residuals.size * np.eye(channels)
    _, held_out = Shape.of(values)
    for at in range(images):
        rest = np.delete(residuals, at, axis=0)
        offset = residuals[at] - rest.mean(axis=0)
        scatter = (rest - rest.mean(axis=0)).T @ (rest - rest.mean(axis=0))
        covariance = (1 - part) * scatter / images + part * even
        expected = np.sqrt(offset @ np.linalg.solve(covariance, offset))
        assert float(held_out[at]) == pytest.approx(float(expected), rel=1e-7)


def test_a_channel_that_never_varies_neither_helps_nor_breaks() -> None:
    values = correlated(50, 4, 3)
    with_constant = torch.cat([values, torch.full((50, 1), 7.0, dtype=torch.float64)], dim=1)
    with_one_more = torch.cat([values, torch.full((50, 1), 8.0, dtype=torch.float64)], dim=1)
    shape, held_out = Shape.of(with_constant)
    assert bool(held_out.isfinite().all())
    assert bool(shape.distance(with_one_more).isfinite().all())
    assert bool((shape.distance(with_one_more) > shape.distance(with_constant)).all())


def test_a_stage_in_which_nothing_varies_gives_numbers() -> None:
    shape, held_out = Shape.of(torch.full((20, 3), 2.0, dtype=torch.float64))
    assert bool(held_out.isfinite().all())
    assert bool(shape.distance(torch.full((2, 3), 2.5, dtype=torch.float64)).isfinite().all())


def test_a_stage_that_is_disturbed_is_the_one_that_says_so() -> None:
    small = world()
    fitted = Layers().fit(small.calibration)
    assert small.known.layers is not None
    widths = [stage.channels for stage in small.network.stages]
    assert fitted.fusion_ is not None
    spread = fitted.fusion_.scale.spread
    usual = fitted.by_stage(small.known)
    for at, width in enumerate(widths):
        moved = small.known.layers.clone()
        start = sum(widths[:at])
        moved[:, start : start + width] += 10 * moved.std()
        distances = fitted.by_stage(Representation(small.known.logits, layers=moved))
        change = (distances - usual) / spread
        assert bool((change[:, at] > 1).all())
        assert float(change.abs().sum()) == pytest.approx(float(change[:, at].sum()))


def test_ten_images_are_asked_for() -> None:
    with pytest.raises(Excused, match="at least 10 calibration images; there are 9"):
        Layers().fit(world().calibration.only(slice(9)))
