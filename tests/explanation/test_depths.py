"""How unusual an image is at each depth, against leaving every calibration image out by hand."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from small_classifier import World, world

from gsc_core.detectors.base import Representation
from gsc_core.detectors.layers import Layers
from gsc_core.explanation.depths import depths
from gsc_core.sentences.depths import depth_sentence

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def small() -> World:
    return world()


@pytest.fixture(scope="module")
def fitted(small: World) -> Layers:
    return Layers().fit(small.calibration)


def stages_of(small: World, batch: Representation) -> list[Array]:
    """Channel means `[N,C]` of each stage, standardised by the calibration images."""
    assert batch.layers is not None and small.calibration.layers is not None
    widths = [stage.channels for stage in small.network.stages]
    familiar = torch.split(small.calibration.layers.double(), widths, dim=1)
    parts = torch.split(batch.layers.double(), widths, dim=1)
    pairs = zip(parts, familiar, strict=True)
    return [((x - f.mean(dim=0)) / f.std(dim=0, correction=0)).numpy() for x, f in pairs]


def left_out(residuals: Array) -> Array:
    """Distance of each image from the mean and scatter of the others."""
    n, channels = residuals.shape
    part = LedoitWolf(assume_centered=True).fit(residuals).shrinkage_
    even = (residuals**2).sum() / residuals.size * np.eye(channels)
    distances = []
    for at in range(n):
        rest = np.delete(residuals, at, axis=0)
        scatter = (rest - rest.mean(axis=0)).T @ (rest - rest.mean(axis=0)) / n
        offset = residuals[at] - rest.mean(axis=0)
        covariance = (1 - part) * scatter + part * even
        distances.append(np.sqrt(offset @ np.linalg.solve(covariance, offset)))
    return np.array(distances)


def by_hand(small: World, image: Representation) -> list[float]:
    """Percentile at each stage, one calibration image at a time."""
    found = []
    familiar = stages_of(small, small.calibration.images)
    for residuals, own in zip(familiar, stages_of(small, image), strict=True):
        distance = np.sqrt(LedoitWolf().fit(residuals).mahalanobis(own)[0])
        others = left_out(residuals)
        found.append(100 * sum(other <= distance for other in others) / len(others))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("which", ["known", "strange"])
def test_each_depth_places_an_image_among_the_familiar(
    which: str, small: World, fitted: Layers
) -> None:
    seen = []
    for at in range(5):
        image = getattr(small, which)[at : at + 1]
        placed = depths(image, small.network, fitted)
        assert [each.layer for each in placed] == [stage.name for stage in small.network.stages]
        expected = by_hand(small, image)
        assert [each.percentile for each in placed] == pytest.approx(expected)
        seen += expected
    assert len(set(seen)) > 2 or which == "strange"  # of strangers all may lie beyond all


def test_the_weights_are_those_of_the_score(small: World, fitted: Layers) -> None:
    placed = depths(small.known[:1], small.network, fitted)
    assert fitted.fusion_ is not None
    assert [each.weight for each in placed] == fitted.fusion_.weights.tolist()
    assert sum(each.weight for each in placed) == pytest.approx(1)


def test_a_calibration_image_is_measured_without_itself(small: World, fitted: Layers) -> None:
    images = small.calibration.images
    ranks = [left_out(residuals) for residuals in stages_of(small, images)]
    differs = False
    for row in range(0, len(images), 7):
        placed = depths(images[row : row + 1], small.network, fitted, row)
        expected = [100 * np.mean(of_stage <= of_stage[row]) for of_stage in ranks]
        assert [each.percentile for each in placed] == pytest.approx(expected)
        with_itself = depths(images[row : row + 1], small.network, fitted)
        assert all(a.percentile >= b.percentile for a, b in zip(placed, with_itself, strict=True))
        differs = differs or placed != with_itself
    assert differs


def test_without_numbers_nothing_is_said(small: World, fitted: Layers) -> None:
    layers = torch.full_like(small.calibration.images.layers[:1], torch.nan)
    broken = Representation(small.known.logits[:1], layers=layers)
    assert depths(broken, small.network, fitted) == ()


@pytest.mark.parametrize(
    ("percentiles", "said"),
    [
        ((40, 95, 20), "at no depth; furthest at depth 2 of 3, where it is at least as far from "
         "the familiar images as 95 % of these"),
        ((99.5, 95.1, 3), "most unusual at depth 1 of 3, where it is at least as far from the "
         "familiar images as more than 99 % of these; unusual at 1 more"),
        ((0.2, 50, 100), "depth 3 of 3, where it is at least as far from the familiar images as "
         "100 % of these; unusual nowhere else"),
        ((96, 97), "unusual at every depth; most at depth 2 of 2"),
        ((0.4,), "at no depth; furthest at depth 1 of 1, where it is at least as far from the "
         "familiar images as less than 1 % of these"),
    ],
)  # fmt: skip
def test_it_is_said_where_it_is_most_unusual(percentiles: tuple[float, ...], said: str) -> None:
    assert said in depth_sentence(percentiles)
