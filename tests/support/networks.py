"""Modules of many kinds, cut in two, for tests of the cut."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import timm
import torch
import torchvision
from hooked import export, lively
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional

from gsc_core.classifier.network import Network
from gsc_core.classifier.split import Split, splits
from gsc_core.detectors.base import Need

ALL = Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT | Need.IMAGES


class InPlace(nn.Module):
    """In-place ReLUs right after layers one may cut at, also on a view of their output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.norm(self.conv(x)))
        x = self.second(x)
        functional.relu_(x[:, :4])  # x itself changes
        return self.fc(x.mean((2, 3)))


class SharedRelu(nn.Module):
    """One ReLU module for several places: its name says nothing about where to cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.GELU())
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.block(self.block(x))
        return self.fc(self.relu(x).mean((2, 3)))


class Shuffle(nn.Module):
    """Channel shuffle and flattening by `view`, which insists on the usual memory order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Tanh())
        self.fc = nn.Linear(8 * 25, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        x = self.grouped(x)
        return self.fc(x.view(x.shape[0], -1))


class Dense(nn.Module):
    """DenseNet's habit: each block's input is kept beside its output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.one = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1))
        self.two = nn.Sequential(nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 4, 3, padding=1))
        self.last = nn.Sequential(nn.BatchNorm2d(14), nn.ReLU())
        self.fc = nn.Linear(14, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.one(x)], dim=1)
        x = torch.cat([x, self.two(x)], dim=1)
        return self.fc(self.last(x).mean((2, 3)))


class Turned(nn.Module):
    """Feature maps turned to channels-last and back, then flattened by `view`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.LayerNorm(8)
        self.to_last = Permute(0, 2, 3, 1)
        self.fc = nn.Linear(8 * 49, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.to_last(self.conv(x))
        return self.fc(x.permute(0, 3, 1, 2).view(x.shape[0], -1))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


def vit() -> nn.Module:
    return timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5
    )


def swin() -> nn.Module:
    """Stages of `[B,H,W,C]` with windows that fold positions into the batch."""
    return timm.models.SwinTransformer(
        img_size=16,
        patch_size=2,
        window_size=4,
        embed_dim=12,
        depths=(1, 2),
        num_heads=(2, 2),
        num_classes=5,
    )


@dataclass(frozen=True)
class Case:
    module: nn.Module
    program: ExportedProgram
    images: Tensor


MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 48),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=10), 64),
    "vit": (vit, 16),
    "swin": (swin, 16),
    "in-place": (InPlace, 16),
    "shared-relu": (SharedRelu, 16),
    "shuffle": (Shuffle, 16),
    "dense": (Dense, 16),
    "turned": (Turned, 16),
}
every_module = pytest.mark.parametrize("name", MODULES)


@cache
def case(name: str) -> Case:
    make, size = MODULES[name]
    torch.manual_seed(0)
    module = lively(make())
    module.requires_grad_(False)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    return Case(module, export(module, size), images)


@cache
def offered(name: str) -> list[Split]:
    return splits(case(name).program)


@cache
def cut(name: str, split: str | None = None) -> Network:
    return Network(case(name).program, split)


def some_splits(name: str) -> list[str]:
    """All cuts of a small network, the first, one in the middle and the last of a large one."""
    names = [split.name for split in offered(name)]
    return names if len(names) <= 12 else [names[0], names[len(names) // 2], names[-1]]


def close(ours: Tensor, truth: Tensor, within: float = 2e-5) -> None:
    """Equal up to float32 rounding, relative to the largest value there is."""
    assert ours.shape == truth.shape
    assert float((ours - truth).detach().abs().max()) <= within * float(truth.detach().abs().max())
