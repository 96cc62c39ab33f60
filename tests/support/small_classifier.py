"""A real, small classifier with images it knows and images it does not, for detector tests."""

import math
from copy import copy
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gsc_core.classifier.network import Linear, Network
from gsc_core.detectors.base import Calibration, Need, Representation, Surrogates
from gsc_core.images.surrogates import SURROGATES
from gsc_core.scoring.onepass import represent

CLASSES, DIMENSIONS = 4, 16
EVERYTHING = (
    Need.LOGITS | Need.FEATURES | Need.FEATURE_MAP | Need.GRADIENT | Need.IMAGES | Need.LAYERS
)


class Small(nn.Module):
    """Three convolutions, mean over positions, one linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.block = nn.Sequential(
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, DIMENSIONS, 3), nn.ReLU()
        )
        self.fc = nn.Linear(DIMENSIONS, CLASSES)

    def pooled(self, x: Tensor) -> Tensor:
        """Features `[B,D]`."""
        return self.block(self.first(x)).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(x))


class Convolutional(nn.Module):
    """Ends in a convolution and a mean: there is no last linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, CLASSES, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).mean(dim=(2, 3))


class Flat(nn.Module):
    """One linear map of the pixels: the pooled feature is the image, and no layer can be cut."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.fc = nn.Linear(weight.shape[1], weight.shape[0])
        self.fc.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """`n` images `[n,3,12,12]` of a coloured patch in one of four corners; its corner."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    images = 0.15 * torch.randn(n, 3, 12, 12, generator=generator)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    strength = 1 + 0.5 * torch.rand(n, 1, 1, 1, generator=generator)
    for image, label, s in zip(images, labels.tolist(), strength, strict=True):
        top, left = 6 * (label // 2), 6 * (label % 2)
        image[:, top : top + 6, left : left + 6] += s * colours[label][:, None, None]
    return images, labels


def strangers(n: int, seed: int) -> Tensor:
    """Images `[n,3,12,12]` of nothing that the classifier knows: dark noise."""
    generator = torch.Generator().manual_seed(seed)
    tint = 0.05 * torch.rand(n, 3, 1, 1, generator=generator)
    return tint + 0.15 * torch.randn(n, 3, 12, 12, generator=generator)


def exported(module: nn.Module, split: str | None = None) -> Network:
    """The module as the product holds it: exported and cut in two."""
    batch = torch.export.Dim("batch")
    images = pictures(4, 0)[0]
    program = torch.export.export(module.eval(), (images,), dynamic_shapes=({0: batch},))
    return Network(program, split)


def calibrate(network: Network, images: Tensor, labels: Tensor) -> Calibration:
    """Calibration on these images, with blends of two of them as surrogate outliers."""
    sample = represent(network, images, EVERYTHING)
    blends = (images + images.roll(1, dims=0)) / 2
    surrogates = in_turn(represent(network, blends, EVERYTHING))
    return Calibration(
        network,
        sample.logits,
        sample.features,
        labels,
        sample,
        surrogates,
        layers=sample.layers,
    )


def in_turn(images: Representation) -> Surrogates:
    """These as surrogate outliers, one of each kind and then the next of each."""
    return Surrogates.of(images, torch.arange(len(images)) % len(SURROGATES))


def flat(weight: Tensor, bias: Tensor, ours: Tensor, theirs: Tensor) -> Calibration:
    """Calibration of a `Flat` network on features `[N,432]`, with those of surrogate outliers."""
    network = exported(Flat(weight, bias))
    sample, far = (
        represent(network, each.view(-1, 3, 12, 12), EVERYTHING) for each in (ours, theirs)
    )
    unknown = torch.full((len(ours),), -1)
    return Calibration(
        network,
        sample.logits,
        sample.features,
        unknown,
        sample,
        in_turn(far),
        layers=sample.layers,
    )


def planted(n: int = 256, seed: int = 0) -> Calibration:
    """A world in which one short-circuit of all tells surrogate outliers, and all others fail.

    Five heavy weights pretend: they lift the unfamiliar images' logit to where the familiar
    images' is by
    four honest weights. The five must go and the four must stay: 1 % of 432 by the gradient, set
    to zero. A few familiar images have the five as well, so truncation leaves them. The other
    features are strong and count for nothing, which misleads a ranking by activation.
    """
    generator = torch.Generator().manual_seed(seed)

    def features(honest: float, pretends: Tensor) -> Tensor:
        x = 10 + 10 * torch.rand(n, 432, generator=generator)
        x[:, :5] = pretends[:, None]
        x[:, 5:9] = honest + 0.25 * torch.rand(n, 1, generator=generator)
        return x

    weight, bias = torch.zeros(CLASSES, 432), torch.full((CLASSES,), -10.0)
    weight[0, :5], weight[0, 5:9], bias[0] = 2, 1, 0
    few = torch.randperm(n, generator=generator) < math.ceil(0.06 * n)
    ours = features(1.25, 0.4 * few)
    return flat(weight, bias, ours, features(0.25, torch.full((n,), 0.4)))


def with_linear(calibration: Calibration, linear: Linear) -> Calibration:
    """The calibration of a network that ends in another linear map."""
    network = copy(calibration.network)
    network.linear = linear
    return replace(calibration, network=network)


@dataclass(frozen=True)
class World:
    """The trained classifier, its calibration, and two test sets as one pass yields them."""

    model: Small
    network: Network
    images: Tensor
    labels: Tensor
    calibration: Calibration
    known: Representation
    strange: Representation

    @property
    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The calibration images as pytorch-ood wants them."""
        return DataLoader(TensorDataset(self.images, self.labels), batch_size=64)


@cache
def world() -> World:
    """Train it once: 4 classes, 240 calibration images, 80 familiar and 80 strange ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)
        images, labels = pictures(256, seed=1)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    network = exported(model, "block")  # before a linear head
    images, labels = pictures(240, seed=2)
    known = represent(network, pictures(80, seed=3)[0], EVERYTHING)
    strange = represent(network, strangers(80, seed=4), EVERYTHING)
    calibration = calibrate(network, images, labels)
    return World(model, network, images, labels, calibration, known, strange)
