"""How steady gradients are, against gradients taken one image at a time from the plain module."""

import numpy as np
import pytest
import torch
from scipy.stats import t
from small_classifier import Small, exported, pictures, strangers, world
from torch.nn.functional import cosine_similarity

from gsc_core.ablation.consistency import around_feature, around_image, compare
from gsc_core.classifier.network import Network


def cut_at(name: str) -> Network:
    """The trained module, cut at a layer."""
    module: Small = world().model.eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (pictures(4, 0)[0],), dynamic_shapes=({0: batch},))
    return Network(program, name)


def gradient_of_one(feature: torch.Tensor, label: int) -> torch.Tensor:
    """Gradient of one logit at the output of `first`, by the plain module."""
    module = world().model
    leaf = feature.clone().requires_grad_()
    module.fc(module.block(leaf[None]).mean(dim=(2, 3)))[0, label].backward()
    assert leaf.grad is not None
    return leaf.grad.flatten()


def noise(shape: tuple[int, ...], draws: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, *shape, generator=generator)[0] for _ in range(draws)]


def test_around_a_feature_it_is_the_mean_cosine_of_gradients_one_by_one() -> None:
    network, module = cut_at("first"), world().model
    images = pictures(6, 5)[0]
    found = around_feature(network, network.body(images), noise=0.3, draws=3, seed=7)
    for image, value in zip(images, found, strict=True):
        with torch.no_grad():
            feature = module.first(image[None])[0]
            label = int(module(image[None]).argmax())
        here = gradient_of_one(feature, label)
        cosines = []
        for direction in noise(tuple(feature.shape), 3, 7):
            step = 0.3 * feature.norm() * direction / direction.norm()
            cosines.append(cosine_similarity(here, gradient_of_one(feature + step, label), dim=0))
        assert value.item() == pytest.approx(float(torch.stack(cosines).mean()), abs=1e-5)
    assert found.max() < 0.9999, "the noise must turn something, or this compares ones"


def test_around_a_picture_it_is_the_mean_cosine_of_gradients_one_by_one() -> None:
    network, module = cut_at("first"), world().model
    images = pictures(6, 5)[0]
    spread = torch.tensor([0.2, 0.3, 0.4])
    found = around_image(network, images, spread, draws=2, seed=3)
    for image, value in zip(images, found, strict=True):
        with torch.no_grad():
            label = int(module(image[None]).argmax())
            feature = module.first(image[None])[0]
            moved = [
                module.first((image + spread[:, None, None] * direction)[None])[0]
                for direction in noise((3, 12, 12), 2, 3)
            ]
        here = gradient_of_one(feature, label)
        beside = [cosine_similarity(here, gradient_of_one(m, label), dim=0) for m in moved]
        assert value.item() == pytest.approx(float(torch.stack(beside).mean()), abs=1e-5)
    assert found.max() < 0.9999


@pytest.mark.parametrize("size", [0.01, 0.5])
def test_before_a_linear_head_no_gradient_ever_turns(size: float) -> None:
    network = exported(world().model, "block")
    assert network.split is not None and network.split.linear
    images = strangers(5, 2)
    feature = around_feature(network, network.body(images), noise=size)
    picture = around_image(network, images, torch.full((3,), size))
    torch.testing.assert_close(feature, torch.ones(5))
    torch.testing.assert_close(picture, torch.ones(5))


def test_more_noise_turns_more() -> None:
    network = cut_at("first")
    feature = network.body(pictures(20, 5)[0])
    little, much = (around_feature(network, feature, noise=n).mean() for n in (0.02, 0.5))
    assert much < little <= 1


def test_it_depends_on_the_image_and_the_seed_and_not_on_the_batch() -> None:
    network, images = cut_at("first"), pictures(6, 5)[0]
    feature, spread = network.body(images), torch.full((3,), 0.2)
    whole = around_feature(network, feature, noise=0.3)
    parts = [around_feature(network, feature[i : i + 2], noise=0.3) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole)
    whole = around_image(network, images, spread)
    torch.testing.assert_close(around_image(network, images[2:3], spread), whole[2:3])
    assert not torch.equal(around_image(network, images, spread, seed=1), whole)


def test_sets_are_compared_with_intervals_that_numpy_gives() -> None:
    generator = np.random.default_rng(0)
    known, strange = generator.uniform(0.8, 1, 50), generator.uniform(0.5, 0.9, 30)
    first, second = compare(
        "feature", torch.from_numpy(known), {"noise": torch.from_numpy(strange)}
    )
    assert (first.set, first.images, first.difference) == ("id", 50, 0)
    assert first.mean == pytest.approx(known.mean())
    half = t(49).ppf(0.975) * known.std(ddof=1) / np.sqrt(50)
    assert (first.low, first.high) == pytest.approx((known.mean() - half, known.mean() + half))
    assert second.difference == pytest.approx(known.mean() - strange.mean())
    other = t(29).ppf(0.975) * strange.std(ddof=1) / np.sqrt(30)
    welch = np.hypot(half, other)
    assert second.difference_low == pytest.approx(second.difference - welch)
    assert second.difference_high == pytest.approx(second.difference + welch)


def test_of_one_picture_nothing_is_sure() -> None:
    (only,) = compare("feature", torch.tensor([0.9]), {})
    assert (only.low, only.high) == (-1, 1)
    assert only.mean == pytest.approx(0.9)
