"""Fused convolutions give what the steps one by one give, and only where that is so."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.fx import GraphModule

from gsc_core.classifier.folding import fold_batch_norms
from gsc_core.classifier.fusing import conv_add_relu, conv_relu, with_fused_convolutions

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A convolution, a residual block whose sum is written in one of several ways, and logits."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.inner = nn.Conv2d(8, 8, 3, padding=1, bias=how != "without a bias")
        self.shortcut = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.inner(x)
        if self.how == "in place":
            y += x
        elif self.how == "in place, into the other":
            x += y
            y = x
        elif self.how == "two convolutions":
            y = self.shortcut(x) + y
        elif self.how == "read twice":
            y = y + x + y.mean()
        elif self.how == "of one row":
            y = y + x[:, :, :1]
        elif self.how == "twice over":
            y = torch.add(y, x, alpha=2)
        elif self.how == "overwritten between":
            z = self.shortcut(x)
            x.mul_(3)
            y = z
        else:
            y = y + x
        out: Tensor = self.fc(torch.relu(y).mean(dim=(2, 3)))
        return out


def exported(module: nn.Module, images: Tensor = IMAGES) -> GraphModule:
    """The graph of a module, its batch norms folded."""
    program = torch.export.export(module.eval(), (images,), strict=False)
    graph_module = program.module(check_guards=False)
    assert isinstance(graph_module, GraphModule)
    graph_module.requires_grad_(False)
    fold_batch_norms(graph_module)
    return graph_module


def fused(module: GraphModule) -> tuple[int, int]:
    """How many convolutions are fused with a ReLU, and with a sum as well."""
    targets = [node.target for node in module.graph.nodes]
    return targets.count(conv_relu), targets.count(conv_add_relu)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("", (1, 1)),
        ("in place", (1, 1)),
        ("in place, into the other", (1, 0)),
        ("two convolutions", (1, 1)),
        ("read twice", (1, 0)),
        ("of one row", (1, 0)),
        ("twice over", (1, 0)),
        ("without a bias", (1, 0)),
        ("overwritten between", (1, 0)),
    ],
)
def test_only_what_one_kernel_gives_is_fused(how: str, number: tuple[int, int]) -> None:
    module = exported(Residual(how))
    faster = with_fused_convolutions(module)
    assert fused(faster) == number
    torch.testing.assert_close(faster(IMAGES), module(IMAGES), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"groups": 2}, {"padding": "same"}, {"stride": 2}])
def test_convolutions_of_other_kinds(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 4, 3, **options)  # type: ignore[arg-type]
    images = torch.randn(2, 4, 9, 9)
    module = exported(nn.Sequential(convolution, nn.ReLU()), images)
    faster = with_fused_convolutions(module)
    assert fused(faster) == ((1, 0) if "stride" in options else (0, 0))
    torch.testing.assert_close(faster(images), module(images), rtol=0, atol=0)


@pytest.mark.slow
def test_a_resnet_is_fused_throughout() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    module = exported(torchvision.models.resnet18(), images)
    faster = with_fused_convolutions(module)
    assert fused(faster) == (9, 8)  # 8 blocks, each with a ReLU inside and one after the sum
    assert fused(module) == (0, 0), "the graph it was made from, for gradients, is left alone"
    torch.testing.assert_close(faster(images), module(images), rtol=0, atol=0)
