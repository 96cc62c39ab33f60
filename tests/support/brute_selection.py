"""Adaptive selection as loops, numpy and scikit-learn have it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from gsc_core.classifier.network import Linear
from gsc_core.detectors.base import Calibration
from gsc_core.detectors.readout import ReadOut
from gsc_core.evaluation.selection import ShortCircuit
from gsc_core.images.surrogates import KINDS as ALL_KINDS

Array = NDArray[np.float64]
KINDS = [kind.name for kind in ALL_KINDS[:4]]


def cut(layer: str, ranking: str, share: float, how: str, granularity: str = "element"):
    return ShortCircuit(
        layer=layer, granularity=granularity, ranking=ranking, share=share, intervention=how
    )


def by_sklearn(ours: Array, theirs: Array) -> tuple[float, float]:
    """FPR95 and AUROC with scikit-learn: ID is positive and has the higher minus score."""
    truth = np.r_[np.ones(len(ours)), np.zeros(len(theirs))]
    score = -np.r_[ours, theirs]
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= 0.95 - 1e-12)]), float(roc_auc_score(truth, score))


def brute_loss(ours: Array, theirs: Array) -> float:
    """Geometric mean over the kinds of FPR95 + 1 − AUROC, each five points up."""
    each = [by_sklearn(ours, theirs[at::4]) for at in range(4)]
    product_ = math.prod(fpr95 + 1 - auroc + 0.05 for fpr95, auroc in each)
    return float(product_**0.25)


def wanted(share: float, n: int) -> int:
    return math.ceil(Fraction(str(share)) * n)


def cut_by_hand(h: Array, g: Array, caps: Array, option: ShortCircuit) -> Array:
    """One image's feature `[C,P]` after the cut, a channel or a value at a time."""
    value = {"gradient": g, "attribution": g * h, "activation": h}[option.ranking]
    whole = option.granularity == "channel"
    ranked = np.abs(value.sum(axis=1) if whole else value).flatten()
    after = h.copy()
    for i in np.argsort(-ranked, kind="stable")[: wanted(option.share, len(ranked))]:
        at = i if whole else np.unravel_index(i, h.shape)
        channel = i if whole else at[0]
        after[at] = 0 if option.intervention == "zero" else np.minimum(after[at], caps[channel])
    return after


def caps_by_hand(features: Array) -> Array:
    """The value `[C]` that 95 % of each channel of `features [N,C,P]` are at or below."""
    return np.quantile(features, 0.95, axis=(0, 2), method="inverted_cdf")


def readings_by_hand(
    h: Array, c: int, weight: Array, bias: Array, cuts: Sequence[float], centres: Sequence[Array]
) -> list[float]:
    """One image's readings at every level: residual logit, energy, margin by length."""
    found = []
    for level, centre in zip(cuts, centres, strict=True):
        left = np.minimum(h, level)
        z = weight @ left + bias
        margin = sum(z[c] - other for other in z) / len(z) / math.dist(left, centre)
        found += [-float(z[c]), -math.log(sum(math.exp(v) for v in z)), -margin]
    return found


def judged_by(calibration: Calibration, *cuts: float) -> ReadOut:
    """Readings at these levels beside those of the features as they are."""
    linear, features = calibration.network.linear, calibration.features
    assert linear is not None and features is not None
    whole = (math.inf, *cuts)
    return ReadOut(linear, whole, tuple(features.clamp(max=cut).mean(0) for cut in whole))


def usual(calibration: Calibration) -> ReadOut:
    """The readings of an audit."""
    return ReadOut.of(calibration.network.linear, calibration.features)


def drawn(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Linear]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    linear = Linear(draw(5, 9), draw(5))
    features = draw(n, 9)
    return linear(features), features, torch.randint(5, (n,), generator=generator), linear
