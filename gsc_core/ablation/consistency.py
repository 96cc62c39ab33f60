"""The paper's premise, checked on a model: do gradients keep their direction near an image?

GSC (arXiv 2507.01417) rests on familiar images having steady gradients and unfamiliar images
unsteady
ones. Here that is a figure: the mean cosine between the gradient of the predicted logit at the
feature and at features a little beside it.
"""

from __future__ import annotations

import math

import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gsc_core.ablation.table import SetConsistency
from gsc_core.classifier.network import Network
from gsc_core.evaluation.effects import LEVEL

FEATURE_NOISE = 0.1  # of the feature's norm
GREY_LEVELS = 4.0  # of 255: standard deviation of the noise on an image
DRAWS = 4


def gradient_at(network: Network, feature: Tensor, classes: Tensor) -> Tensor:
    """Gradient `[B,n]` of each image's logit of `classes [B]` with respect to `feature`."""
    with torch.enable_grad():
        leaf = feature.detach().requires_grad_()
        logit = network.head(leaf).gather(1, classes[:, None])
        gradient = network.gradient(logit, leaf)
    return gradient.flatten(1).float()


def around_feature(
    network: Network,
    feature: Tensor,
    *,
    noise: float = FEATURE_NOISE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Tensor:
    """Mean cosine `[B]` between the gradient at `feature` and at `draws` features beside it.

    Noise is a random direction as long as `noise` times the feature's norm, the same directions for
    all images, so that a figure does not depend on the batch. The class stays the one predicted.
    """
    classes = _predicted(network, feature)
    here = gradient_at(network, feature, classes)
    length = feature.flatten(1).norm(dim=1).view(-1, *[1] * (feature.ndim - 1))
    cosines = []
    for direction in _directions(feature, draws, seed):
        beside = feature + noise * length * direction / direction.norm()
        cosines.append(cosine_similarity(here, gradient_at(network, beside, classes)))
    return torch.stack(cosines).mean(dim=0)


def around_image(
    network: Network,
    images: Tensor,
    spread: Tensor,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Tensor:
    """Mean cosine `[B]` between the gradient at the feature of `images [B,3,H,W]` and beside them.

    Noise is normal with the standard deviations `spread [3]`, in units of the preprocessed images.
    """
    feature = network.body(images)
    classes = _predicted(network, feature)
    here = gradient_at(network, feature, classes)
    cosines = []
    for direction in _directions(images, draws, seed):
        beside = network.body(images + spread.view(1, 3, 1, 1) * direction)
        cosines.append(cosine_similarity(here, gradient_at(network, beside, classes)))
    return torch.stack(cosines).mean(dim=0)


def compare(where: str, id_values: Tensor, ood_values: dict[str, Tensor]) -> list[SetConsistency]:
    """Summaries of cosines `[N]` of ID images and `[M]` of each OOD set against them."""
    summaries = [_summary("id", where, id_values, None)]
    return summaries + [
        _summary(name, where, values, id_values) for name, values in ood_values.items()
    ]


def _summary(name: str, where: str, values: Tensor, id_values: Tensor | None) -> SetConsistency:
    mean, reach = _mean_and_reach(values)
    gap, gap_reach = 0.0, 0.0
    if id_values is not None:
        id_mean, id_reach = _mean_and_reach(id_values)
        gap, gap_reach = id_mean - mean, math.hypot(id_reach, reach)
    return SetConsistency(
        set=name,
        where=where,
        images=len(values),
        mean=mean,
        low=max(mean - reach, -1.0),
        high=min(mean + reach, 1.0),
        difference=gap,
        difference_low=max(gap - gap_reach, -2.0),
        difference_high=min(gap + gap_reach, 2.0),
    )


def _mean_and_reach(values: Tensor) -> tuple[float, float]:
    """Mean of cosines `[N]` and how far it may lie off, by Student's t; a single one shows none."""
    exact, images = values.double(), len(values)
    if images == 1:
        return exact.item(), math.inf
    error = exact.std().item() / math.sqrt(images)
    return exact.mean().item(), error * -float(stdtrit(images - 1, (1 - LEVEL) / 2))


def _predicted(network: Network, feature: Tensor) -> Tensor:
    with torch.no_grad():
        return network.head(feature).argmax(dim=1)


def _directions(like: Tensor, draws: int, seed: int) -> list[Tensor]:
    """Normal noise in the shape of one image's tensor, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, *like.shape[1:])
    return [torch.randn(shape, generator=generator).to(like.device) for _ in range(draws)]
