"""Batch norms folded into convolutions: the numbers stay; what cannot be folded is left alone."""

import pytest
import torch
from hooked import export, lively
from networks import case, close, cut
from torch import Tensor, nn
from torch.nn import functional

from gsc_core.classifier.folding import fold_batch_norms
from gsc_core.classifier.programs.graph import operator_name


class ConvNorm(nn.Module):
    def __init__(self, bias: bool, affine: bool, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, bias=bias, groups=groups, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6, affine=affine, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(torch.cat([x, x.flip(1)], 1))).relu().mean((2, 3))


class TwoReaders(ConvNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(torch.cat([x, x], 1))
        return (self.norm(x) + x).mean((2, 3))


class BatchStatistics(ConvNorm):
    def __init__(self) -> None:
        super().__init__(bias=True, affine=True, groups=1)
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class InTraining(ConvNorm):
    """Has frozen statistics and does not use them."""

    def forward(self, x: Tensor) -> Tensor:
        norm, x = self.norm, self.conv(torch.cat([x, x], 1))
        given = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return functional.batch_norm(x, *given, training=True, momentum=0.0).mean((2, 3))


class ComputedBias(ConvNorm):
    def forward(self, x: Tensor) -> Tensor:
        assert self.conv.bias is not None
        x = functional.conv2d(torch.cat([x, x], 1), self.conv.weight, 3 * self.conv.bias)
        return self.norm(x).mean((2, 3))


def folded(module: nn.Module) -> tuple[torch.fx.GraphModule, int]:
    """The exported module after folding, and how many batch norms are left."""
    graph_module = export(lively(module), 9).module(check_guards=False)
    fold_batch_norms(graph_module)
    names = [operator_name(node) for node in graph_module.graph.nodes]
    return graph_module, names.count("aten.batch_norm")


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_folding_keeps_the_numbers(bias: bool, affine: bool, groups: int) -> None:
    module = ConvNorm(bias, affine, groups)
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 0
    close(ours(images), module(images), within=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        TwoReaders(True, True, 1),
        BatchStatistics(),
        InTraining(True, True, 1),
        ComputedBias(True, True, 1),
    ],
)
def test_what_cannot_be_folded_is_left_alone(module: nn.Module) -> None:
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 1
    close(ours(images), module(images), within=1e-5)


def test_folding_a_convolution_called_twice_folds_each_call_for_itself() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

        def forward(self, x: Tensor) -> Tensor:
            for norm in self.norms:
                x = norm(self.conv(x)).relu()
            return x.mean((2, 3))

    module = Twice()
    ours, left = folded(module)
    images = torch.randn(4, 3, 9, 9)
    assert left == 0
    close(ours(images), module(images), within=1e-5)


def test_a_real_network_is_folded_whole() -> None:
    one, network = case("resnet18"), cut("resnet18", "layer3")
    parts = [part for part in (network._body, network._head) if part is not None]
    left = [n for part in parts for n in part.graph.nodes if operator_name(n) == "aten.batch_norm"]
    assert len(parts) == 2 and not left
    close(network(one.images), one.module(one.images), within=1e-5)
