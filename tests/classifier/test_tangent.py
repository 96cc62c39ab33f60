"""Gradient and first order against autograd's on the module."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
import torch
from hooked import along, export, gradient_of, lively, tail
from networks import ALL, case, close, cut, every_module, offered, some_splits
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gsc_core.classifier.network import Network
from gsc_core.scoring.onepass import represent


@pytest.mark.slow
@every_module
def test_the_gradient_is_each_images_own_backward(name: str) -> None:
    one = case(name)
    for split in some_splits(name):
        found = represent(cut(name, split), one.images, ALL)
        assert found.gradient is not None and found.feature_map is not None
        for i, image in enumerate(one.images):
            logits, feature, gradient = gradient_of(one.module, split, image[None])
            close(found.logits[i], logits)
            close(found.feature_map[i], feature)
            close(found.gradient[i], gradient, within=1e-4)


def test_among_equal_logits_the_gradient_is_that_of_the_predicted_class() -> None:
    class Even(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) @ torch.tensor([[1.0, 1, 0], [0, 1, 1]] * 2)

    module = Even().eval()
    with torch.no_grad():
        module.conv.weight.zero_()
        module.conv.bias.copy_(torch.tensor([1.0, 0, 1, 0]))  # logits 2, 2, 0
    images = torch.randn(2, 3, 8, 8)
    found = represent(Network(export(module, 8), "conv"), images, ALL)
    assert found.gradient is not None
    _, _, gradient = gradient_of(module, "conv", images[:1])
    close(found.gradient[0], gradient)


@pytest.mark.slow
@every_module
def test_first_order_is_autograds_derivative_of_the_modules_tail(name: str) -> None:
    one = case(name)
    for split in some_splits(name):
        network = cut(name, split)
        feature = network.body(one.images)
        change = torch.randn(feature.shape, generator=torch.Generator().manual_seed(3))
        logits, derivative = network.first_order(feature, change)
        run = tail(one.module, split, one.images)
        close(logits, run(feature))
        close(derivative, along(run, feature.clone(), change), within=1e-4)
        assert not derivative.requires_grad


def test_first_order_is_the_same_from_several_threads() -> None:
    torch.manual_seed(0)
    tail_of = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 5))
    network = Network(export(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *tail_of).eval(), 8), "0")
    feature = network.body(torch.randn(4, 3, 8, 8))
    _, alone = network.first_order(feature, -feature)
    with ThreadPoolExecutor(3) as threads:
        for _, derivative in threads.map(
            network.first_order, repeat(feature, 60), repeat(-feature, 60)
        ):
            close(derivative, alone)


@pytest.mark.slow
def test_first_order_costs_the_head_twice_and_no_products_by_zero() -> None:
    """Convolutions and linear maps once for the logits, once for the derivative."""
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3)),
        nn.Sequential(nn.Conv2d(8, 10, 1), nn.BatchNorm2d(10), nn.ReLU6()),
        nn.Conv2d(10, 10, 3, padding=1, groups=2, bias=False),
        nn.Sigmoid(),
        nn.Flatten(2),
        nn.Linear(144, 7),
        nn.Flatten(),
        nn.Linear(70, 4),
    )
    network = Network(export(lively(module), 16), "0")
    feature = network.body(torch.randn(3, 3, 16, 16))
    with torch.no_grad(), FlopCounterMode(display=False) as once:
        network.head(feature)
    with FlopCounterMode(display=False) as twice:
        network.first_order(feature, torch.ones_like(feature))
    assert once.get_total_flops() > 3 * 2 * (8 * 10 * 144 + 10 * 144 * 7 + 70 * 4)
    assert twice.get_total_flops() == 2 * once.get_total_flops()


@every_module
def test_what_is_called_a_linear_head_is_one(name: str) -> None:
    for split in offered(name):
        if not split.linear:
            continue
        network = cut(name, split.name)
        feature = network.body(case(name).images)
        change = 3 * torch.randn(feature.shape, generator=torch.Generator().manual_seed(4))
        logits, derivative = network.first_order(feature, change)
        close(network.head(feature + change), logits + derivative)


def test_heads_are_told_linear_where_only_pooling_and_the_last_layer_follow() -> None:
    assert {s.name for s in offered("resnet18") if s.linear} >= {"layer4"}
    assert not next(s for s in offered("resnet18") if s.name == "layer3").linear
