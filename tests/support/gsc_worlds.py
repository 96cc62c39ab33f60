"""Small networks cut at a layer, with calibration, and GSC on them as a loop over images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import timm
import torch
from hooked import along, export, gradient_of, lively, tail
from torch import Tensor, nn

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Need, Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.scoring.onepass import represent

NEEDS = GSC.needs | Need.FEATURES
IMAGES, CALIBRATION = 3, 12


class Maps(nn.Module):
    """Feature maps: a head with convolutions (`first`), and a linear one (`second`)."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), activation())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), activation())
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x)).mean((2, 3)))


@dataclass(frozen=True)
class World:
    """A network cut at a layer, the module it comes from, and what one pass yields."""

    module: nn.Module
    layer: str
    channel: int  # of the batched feature, known beforehand
    network: Network
    images: Tensor
    batch: Representation
    calibration: Calibration


MODULES: dict[str, tuple[Any, str, int]] = {
    "maps": (Maps, "first", 1),
    "linear": (Maps, "second", 1),
    "tokens": (
        lambda: timm.models.VisionTransformer(
            img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=5
        ),
        "blocks.0",
        2,
    ),
    "channels-last": (
        lambda: timm.models.SwinTransformer(
            img_size=16,
            patch_size=2,
            window_size=4,
            embed_dim=12,
            depths=(1, 1),
            num_heads=(2, 2),
            num_classes=5,
        ),
        "layers.0",
        3,
    ),
}


def build(module: nn.Module, layer: str, channel: int) -> World:
    module = lively(module).requires_grad_(False)
    network = Network(export(module, 16), layer)
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(IMAGES + CALIBRATION, 3, 16, 16, generator=generator)
    sample = represent(network, images[IMAGES:], NEEDS)
    strangers = represent(network, images[IMAGES:].flip(1) * 0.7 + 0.2, NEEDS)
    unknown = torch.full((CALIBRATION,), -1)
    calibration = Calibration(network, sample.logits, sample.features, unknown, sample, strangers)
    batch = represent(network, images[:IMAGES], NEEDS)
    return World(module, layer, channel, network, images[:IMAGES], batch, calibration)


@cache
def world(name: str) -> World:
    make, layer, channel = MODULES[name]
    torch.manual_seed(3)
    return build(make(), layer, channel)


def wanted(share: float, n: int) -> int:
    return math.ceil(Fraction(str(share)) * n)


def largest(values: list[float], k: int) -> list[int]:
    """Indices of the `k` largest, equal ones by their index."""
    return sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


def brute_mask(one: World, detector: GSC, feature: Tensor, gradient: Tensor) -> Tensor:
    """Which coordinates of one image's feature are short-circuited."""
    axis = one.channel - 1
    mask = torch.zeros(feature.shape, dtype=torch.bool)
    if detector.ranking == "random":  # no formula: what it is, is tested below
        return detector.mask(one.batch[:1])[0].expand_as(feature)
    if detector.granularity == "element":
        g, h = gradient.flatten().tolist(), feature.flatten().tolist()
        value = {
            "gradient": lambda i: abs(g[i]),
            "attribution": lambda i: abs(g[i] * h[i]),
            "activation": lambda i: abs(h[i]),
        }[detector.ranking]
        for i in largest([value(i) for i in range(len(g))], wanted(detector.share, len(g))):
            mask.view(-1)[i] = True
        return mask
    channels = feature.shape[axis]
    values = []
    for c in range(channels):
        g, h = gradient.select(axis, c), feature.select(axis, c)
        sums = {"gradient": g.sum(), "attribution": (g * h).sum(), "activation": h.sum()}
        values.append(abs(float(sums[detector.ranking])))
    for c in largest(values, wanted(detector.share, channels)):
        mask.select(axis, c).fill_(True)
    return mask


def brute_intervened(one: World, detector: GSC, feature: Tensor, mask: Tensor) -> Tensor:
    """The feature of one image after zeroing or truncating it."""
    after = feature.clone()
    axis = one.channel - 1
    known = one.calibration.sample.feature_map
    assert known is not None
    for c in range(feature.shape[axis]):
        part, chosen = after.select(axis, c), mask.select(axis, c)
        if detector.intervention == "zero":
            part[chosen] = 0
        else:
            values = known.select(one.channel, c).numpy()
            cap = float(np.quantile(values, detector.percentile, method="inverted_cdf"))
            part[chosen] = part[chosen].clamp(max=cap)
    return after


def brute_logits(one: World, detector: GSC) -> tuple[Tensor, Tensor]:
    """Logits `[B,K]` before and after, an image at a time on the original module."""
    before, after = [], []
    for image in one.images:
        logits, feature, gradient = gradient_of(one.module, one.layer, image[None])
        mask = brute_mask(one, detector, feature, gradient)
        changed = brute_intervened(one, detector, feature, mask)
        run = tail(one.module, one.layer, image[None])
        before.append(logits)
        if detector.update == "exact":
            after.append(run(changed[None])[0].detach())
        else:
            change = (changed - feature)[None]
            after.append(logits + along(run, feature[None], change)[0])
    return torch.stack(before).double(), torch.stack(after).double()
