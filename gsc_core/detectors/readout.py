"""From what a short-circuit leaves to one score: the mean of several readings.

Which single reading is best depends on the outliers, and surrogate outliers tell it badly. So three
count alike: the logit that is left of the predicted class, the energy, and the margin of that logit
over the others for a feature of its length, as fDBD reads it (ICML 2024, arXiv 2312.11536). Each is
taken with the pooled features cut off at several levels, as ReAct does (NeurIPS 2021,
arXiv 2111.12797), since no level suits all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier.network import Linear

LEVEL_QUANTILES = (0.90, 0.95, 0.98)  # share of the calibration images' features under each level
_MIDDLE_THIRDS = torch.tensor([0.16, 0.5, 0.84])  # a standard deviation either side, if normal
_MAX_VALUES = 2**22  # of which a level is taken; of more, every so many images


@dataclass(frozen=True)
class ReadOut:
    """What the readings need to know of the network and of calibration images.

    linear: the last linear map, None where the network does not end in one; then `cuts` and
    `centres` are empty. cuts: the levels at which pooled features are cut off, the first infinite.
    centres: the mean pooled feature `[D]` under each.
    """

    linear: Linear | None
    cuts: tuple[float, ...] = ()
    centres: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, linear: Linear | None, features: Tensor | None) -> Self:
        """From the pooled features `[N,D]` of calibration images."""
        if linear is None or features is None:
            return cls(None)
        cuts = (math.inf, *levels(features))
        return cls(linear, cuts, tuple(features.clamp(max=cut).mean(dim=0) for cut in cuts))

    @property
    def caps(self) -> bool:
        """Whether features can be cut off before they are read."""
        return len(self.cuts) > 1

    def __call__(
        self, logits: Tensor, features: Tensor | None, predicted: Tensor, judging: bool = False
    ) -> Tensor:
        """Readings `[B,R]` after a short-circuit, each higher = more likely OOD.

        `logits [B,K]` and `features [B,D]` are what it left, `predicted [B]` the class before it.
        Three for each level, or without a linear map residual logit and energy alone. To judge a
        short-circuit by surrogate images the margin stays out: it hides there, more than on
        unfamiliar images, that too much was cut.
        """
        if self.linear is None or features is None:
            return torch.stack(_of_logits(logits, predicted), dim=1)
        left, cut_off = logits[None], features[None]  # [levels,B,K], [levels,B,D]
        if self.caps:
            # the first takes nothing away
            some = torch.stack([features.clamp(max=cut) for cut in self.cuts[1:]])
            left, cut_off = torch.cat([left, self.linear(some)]), torch.cat([cut_off, some])
        residual, energy = _of_logits(left, predicted)
        readings = [residual, energy]
        if not judging:
            length = (cut_off - torch.stack(self.centres)[:, None]).norm(dim=2).clamp(min=1e-12)
            readings.append((residual + left.mean(dim=2)) / length)
        return torch.stack(readings, dim=2).movedim(0, 1).flatten(1)

    def columns(self, capped: bool, judging: bool = False) -> list[int]:
        """Which readings are averaged: with features cut off, or as they are."""
        if self.linear is None or not self.cuts:
            return [0, 1]
        levels = range(1, len(self.cuts)) if capped else range(1)
        per_level = 2 if judging else 3
        return [per_level * level + reading for level in levels for reading in range(per_level)]


def _of_logits(logits: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """Residual logit and energy `[…,B]` of logits `[…,B,K]`."""
    index = predicted[:, None].expand(*logits.shape[:-1], 1)
    return -logits.gather(-1, index)[..., 0], -logits.logsumexp(dim=-1)


def levels(features: Tensor) -> tuple[float, ...]:
    """Where to cut off pooled features: so many of all values of `features [N,D]` lie below."""
    some = features[:: 1 + features.numel() // _MAX_VALUES]
    values = some.flatten().sort().values
    return tuple(
        float(values[min(len(values) - 1, int(quantile * len(values)))])
        for quantile in LEVEL_QUANTILES
    )


@dataclass(frozen=True)
class Scale:
    """Middle and spread `[R]` of each reading on calibration images."""

    middle: Tensor
    spread: Tensor

    @classmethod
    def of(cls, sample: Tensor) -> Scale:
        """From readings `[N,R]`: the median, and half the distance that 68 % lie within."""
        places = _MIDDLE_THIRDS.to(sample)
        # one at a time: `quantile` takes no more than 16 million values
        thirds = [reading.quantile(places) for reading in sample.unbind(dim=1)]
        low, middle, high = torch.stack(thirds, dim=1)
        return cls(middle, ((high - low) / 2).clamp(min=1e-9))

    def standardised(self, readings: Tensor) -> Tensor:
        """Readings `[B,R]` in spreads above the middle."""
        return (readings - self.middle) / self.spread

    def mean(self, readings: Tensor, columns: list[int]) -> Tensor:
        """One score `[B]` of some columns of the readings `[B,R]`."""
        return self.standardised(readings)[:, columns].mean(dim=1)
