"""Whether images are normalised as the network was trained: its first batch norm remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gsc_core.audit.checks.base import Evidence
from gsc_core.classifier.load import Classifier
from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsc_core.classifier.programs.first_norm import FirstNorm
from gsc_core.errors import ImageError
from gsc_core.images.decode import decode
from gsc_core.images.sources.address import BytesAt
from gsc_core.run.document import ModelCheck

MAX_IMAGES = 32
# Misfits, see `FirstNorm.misfit`. With the right preprocessing 0.05 to 0.3 were seen, also on
# images of another kind; with a wrong one 0.8 and more.
_SUSPICIOUS, _FITTING, _CLEARLY_BETTER = 0.6, 0.35, 2.5
_HOPELESS = 2.0  # seven times the spread of training, or a seventh of it


class _Way(NamedTuple):
    """Another way to normalise: what it is called, and images `[N,C,H,W]` made in this way."""

    words: str
    images: Tensor


def inputs(evidence: Evidence) -> ModelCheck:
    """Warns where images normalised in another usual way fit the network far better."""
    checked = normalisation(evidence.classifier, [image.path for image in evidence.images])
    return checked or _check(
        "unchecked",
        "Whether images are normalised as in training cannot be checked with this network, which "
        "has no trained batch norm near its input.",
    )


def normalisation(classifier: Classifier, images: Sequence[BytesAt]) -> ModelCheck | None:
    """The same of some image files, from all over; None without a trained batch norm near them."""
    norm = FirstNorm.of(classifier.program)
    if norm is None:
        return None
    preprocessing = classifier.preprocessing
    pixels = _pixels(images, preprocessing)
    if pixels is None:
        return None
    misfit = norm.misfit(preprocessing.normalise(pixels))
    if misfit <= _SUSPICIOUS:
        return _check(
            "fine",
            "Prepared images have the mean and spread that the network was trained on, by the "
            "statistics of its first batch norm.",
        )
    ways = [(norm.misfit(way.images), way.words) for way in _other_ways(pixels, preprocessing)]
    best, words = min(ways)
    if best <= _FITTING and best * _CLEARLY_BETTER <= misfit:
        return _check(
            "warning",
            "Images seem to be normalised differently from those of the training: as prepared now "
            f"({_now(preprocessing)}) they do not fit the statistics of the first batch norm; with "
            f"{words} they do. Correct "
            "the preprocessing, or every figure is off.",
        )
    if misfit >= _HOPELESS:
        return _check(
            "warning",
            f"Images as prepared now ({_now(preprocessing)}) have a clearly different mean or "
            "spread from what the network was trained on, by the statistics of its first batch "
            "norm, and no usual way to normalise them fits: check the preprocessing and the "
            "images.",
        )
    return _check(
        "fine",
        "Prepared images differ in mean or spread from those of the training, but no other usual "
        "way to normalise them fits the first batch norm clearly better.",
    )


def _check(outcome: str, sentence: str) -> ModelCheck:
    return ModelCheck.model_validate({"name": "inputs", "outcome": outcome, "sentence": sentence})


def _pixels(images: Sequence[BytesAt], preprocessing: Preprocessing) -> Tensor | None:
    """Some images uint8 `[N,C,h,w]` at even distances; None where none can be read."""
    step = max(1, -(-len(images) // MAX_IMAGES))
    some: list[Tensor] = []
    for path in images[::step]:
        try:
            some.append(preprocessing.resize_crop(decode(path)))
        except ImageError:
            continue
    return torch.stack(some) if some else None


def _other_ways(pixels: Tensor, preprocessing: Preprocessing) -> Iterator[_Way]:
    """Usual ways to normalise, right ones and mistakes, but that of the preprocessing."""
    unit = pixels.float() / 255
    channels = pixels.shape[1]
    own = _normalised(unit, preprocessing.mean, preprocessing.std)
    imagenet = Preprocessing(mean=IMAGENET_MEAN, std=IMAGENET_STD, source="library")
    usual = imagenet.for_channels(channels)
    twice = _normalised(own, preprocessing.mean, preprocessing.std)
    ways = [
        _Way("values from 0 to 1 (mean=0,std=1; perhaps the network normalises them itself)", unit),
        _Way("ImageNet's mean and standard deviation", _normalised(unit, usual.mean, usual.std)),
        _Way("values from −1 to 1 (mean=0.5,std=0.5)", 2 * unit - 1),
        _Way("values from 0 to 255 (mean=0,std=0.00392157)", 255 * unit),
        _Way(
            "values from 0 to 255 minus ImageNet's mean",
            _normalised(255 * unit, [255 * value for value in usual.mean], [1.0] * channels),
        ),
        _Way("values that were normalised twice", twice),
        _Way("values that were divided by 255 twice", unit / 255),
    ]
    if channels == 3:
        ways.append(_Way("red and blue swapped, as OpenCV reads images", own.flip(1)))
    return (way for way in ways if not torch.allclose(way.images, own, atol=0.05))


def _normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    shift, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return (images - shift) / scale


def _now(preprocessing: Preprocessing) -> str:
    mean, std = (
        "/".join(f"{value:.3g}" for value in dict.fromkeys(values))
        for values in (preprocessing.mean, preprocessing.std)
    )
    return f"mean {mean}, standard deviation {std}"
