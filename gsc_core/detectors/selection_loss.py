"""How well a score parts familiar images from others, where a detector has to know while fitted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.evaluation.selection import Separation
from gsc_core.images.surrogates import KINDS


def separation(id_scores: Tensor, surrogate_scores: Tensor) -> Separation:
    """How well outlier scores of familiar images `[N]` lie below those of unfamiliar images `[M]`.

    FPR95 is the share of unfamiliar images at or below the threshold that keeps 95 % of the
    familiar images, AUROC the Mann-Whitney share of pairs in order, ties half.
    """
    return _separation(double(id_scores).sort().values, surrogate_scores)


def _separation(id_sorted: Tensor, surrogate_scores: Tensor) -> Separation:
    """As `separation`, of scores of familiar images that are sorted already, in float64."""
    outliers = double(surrogate_scores).contiguous()
    auroc = int(_twice_below(id_sorted, outliers).sum()) / (2 * len(id_sorted) * len(outliers))
    threshold = id_sorted[math.ceil(0.95 * len(id_sorted)) - 1]
    return Separation(float((outliers <= threshold).double().mean()), auroc)


def rank(reference: Tensor, scores: Tensor) -> Tensor:
    """Share `[B]` of the sorted `reference [N]` below each of `scores [B]`, ties half."""
    return double(_twice_below(reference, scores)) / (2 * len(reference))


def _twice_below(reference: Tensor, scores: Tensor) -> Tensor:
    """A whole number each, so that sums are exact and even scores give an AUROC of just 0.5."""
    values = double(scores).to(reference)
    below = torch.searchsorted(reference, values, right=False)
    return below + torch.searchsorted(reference, values, right=True)


def by_kind(id_scores: Tensor, surrogates: Tensor, kinds: Tensor) -> dict[str, Separation]:
    """The separation of outlier scores from each kind of surrogate outlier, by the kind's name.

    `kinds [M]` are the kinds of `surrogates [M]`, as indices into `KINDS`. A kind of which
    there is none is left out.
    """
    id_sorted = double(id_scores).sort().values
    which = kinds.to(surrogates.device)
    scores = {kind.name: surrogates[which == at] for at, kind in enumerate(KINDS)}
    return {name: _separation(id_sorted, some) for name, some in scores.items() if len(some)}
