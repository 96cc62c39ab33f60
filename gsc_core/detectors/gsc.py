"""Gradient Short-Circuit: take away what the prediction leans on most and see what is left.

GSC, ICCV 2025, arXiv 2507.01417. For an image with feature `h`, logits `y`, predicted class `c` and
gradient `g = ∂y_c/∂h`: rank the coordinates of `h`, short-circuit the leading share of them, update
the logits with a first-order step, score by what happens to the confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import ClassVar, Self

import torch
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.classifier.split import Split
from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation, knob
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.selection_loss import separation

READINGS = (
    "drop",
    "relative_drop",
    "relative_energy",
    "logit_change",
    "residual_logit",
    "energy",
    "softmax",
)
"""What may be read from the logits after the short-circuit."""

_READING = frozenset({"update", "reading", "confidence", "direction"})  # the rest cuts
_MIN_TO_LEARN = 10  # a direction or a percentile from fewer images is chance


def count(share: float, n: int) -> int:
    """How many of `n` coordinates a share of them is: `⌈share · n⌉`, free of rounding noise."""
    return min(n, math.ceil(share * n - 1e-9))


def select(ranking: Tensor, k: int) -> Tensor:
    """Mask `[B,n]` of the `k` largest values of each row of `ranking [B,n]`.

    Exactly `k` a row; equal values are taken in the order of their index.
    """
    rows, n = ranking.shape
    if k <= 0:
        return torch.zeros(rows, n, dtype=torch.bool, device=ranking.device)
    smallest_taken = ranking.kthvalue(n - k + 1, dim=1, keepdim=True).values
    above = ranking > smallest_taken
    tied = ranking == smallest_taken
    room = k - above.sum(dim=1, keepdim=True)
    return above | (tied & (tied.cumsum(dim=1, dtype=torch.int32) <= room))


def rank(feature: Tensor, gradient: Tensor, by: str, seed: int) -> Tensor:
    """Ranking value of every coordinate `[B,n]` from feature and gradient `[B,n]` (or their sums).

    `gradient` |g|, `attribution` |g·h|, and as controls `activation` |h| and `random`, one fixed
    order for all images so that scores do not depend on the batch.
    """
    if by == "gradient":
        return gradient.abs()
    if by == "attribution":
        return (gradient * feature).abs()
    if by == "activation":
        return feature.abs()
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(feature.shape[1:], generator=generator).to(feature.device)
    return order.expand_as(feature)


def confidence_of(logits: Tensor, kind: str, predicted: Tensor) -> Tensor:
    """Confidence `[B]` of logits `[B,K]`.

    Largest `softmax`, that of the class `predicted [B]` before, `energy` (log-sum-exp) or `logit`.
    """
    if kind == "softmax":
        return logits.softmax(dim=1).amax(dim=1)
    if kind == "predicted":
        return logits.softmax(dim=1).gather(1, predicted[:, None])[:, 0]
    return logits.logsumexp(dim=1) if kind == "energy" else logits.amax(dim=1)


@dataclass(eq=False)
class GSC(Detector):
    """The method with every knob free, its direction learned on surrogate outliers.

    Scores are higher for OOD. `flipped_` tells that the published direction (a larger drop of
    confidence means OOD) was backwards on this model's surrogates and has been turned.
    """

    share: float = knob(0.2, "share of the coordinates to short-circuit", low=0.0, high=1.0)
    granularity: str = knob(
        "element", "short-circuit single values or whole channels", choices=("element", "channel")
    )
    ranking: str = knob(
        "gradient",
        "what makes a coordinate important to the prediction",
        choices=("gradient", "attribution", "activation", "random"),
    )
    intervention: str = knob(
        "zero",
        "set the chosen coordinates to zero, or cap them at a usual value",
        choices=("zero", "truncate"),
    )
    percentile: float = knob(
        0.95, "truncate: the share of calibration values left as they are", low=0.0, high=1.0
    )
    update: str = knob(
        "first_order",
        "estimate the new logits, or compute them again",
        choices=("first_order", "exact"),
    )
    reading: str = knob(
        "drop",
        "what is read from the new logits",
        choices=READINGS,
    )
    confidence: str = knob(
        "softmax",
        "for a drop: the drop of which confidence",
        choices=("softmax", "predicted", "energy", "logit"),
    )
    direction: str = knob(
        "learned",
        "whether a larger drop means unfamiliar, or surrogate images decide",
        choices=("learned", "published"),
    )
    seed: int = knob(0, "seed of the random ranking", low=0)

    name: ClassVar[str] = "gsc"
    title: ClassVar[str] = "Gradient Short-Circuit"
    about: ClassVar[str] = (
        "Removes the part of the feature that the prediction relies on most and reads how the "
        "confidence changes; the direction is learned on surrogate images."
    )
    paper: ClassVar[Paper | None] = Paper(
        "Gradient Short-Circuit: Efficient Out-of-Distribution Detection via Feature Intervention",
        "ICCV",
        2025,
        "https://arxiv.org/abs/2507.01417",
    )
    family: ClassVar[Family] = Family.SHORT_CIRCUIT
    explains: ClassVar[bool] = True
    needs: ClassVar[Need] = Need.LOGITS | Need.FEATURE_MAP | Need.GRADIENT
    fitted_with: ClassVar[Fit] = Fit.IMAGES | Fit.SURROGATES

    network_: Network | None = field(default=None, init=False, repr=False)
    caps_: Tensor | None = field(default=None, init=False, repr=False)
    flipped_: bool = field(default=False, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the truncation levels and the direction from calibration images."""
        self._require_cut(calibration.network)
        self.network_, self.flipped_ = calibration.network, False
        if self.intervention == "truncate":
            key = ("caps", type(self).at, self.percentile)
            self.caps_ = calibration.sample.once(key, lambda: self._learn_caps(calibration))
        if self.direction == "learned":
            self.flipped_ = self._learn_direction(calibration)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        raw = self._published_score(batch).detach()
        return -raw if self.flipped_ else raw

    def mask(self, batch: Representation) -> Tensor:
        """The short-circuited coordinates: a boolean tensor that broadcasts to the feature map."""
        feature, gradient = self.at(batch)
        if self.granularity == "element":
            ranking = rank(feature.flatten(1), gradient.flatten(1), self.ranking, self.seed)
            k = count(self.share, ranking.shape[1])
            # to lie in memory as the feature does, or the change would not, and slow down the head
            nothing = torch.zeros_like(feature, dtype=torch.bool)
            return nothing | select(ranking, k).view_as(feature)
        ranking = self.channel_ranking(batch)
        selected = select(ranking, count(self.share, ranking.shape[1]))
        shape = [1] * feature.ndim
        shape[0], shape[self.channel] = selected.shape
        return selected.view(shape)

    def channel_ranking(self, batch: Representation) -> Tensor:
        """How much the prediction leans on each channel, `[B,C]`: sums over positions first."""
        feature, gradient = self.at(batch)
        positions = [d for d in range(1, feature.ndim) if d != self.channel]

        def summed(x: Tensor) -> Tensor:
            return x.sum(positions) if positions else x  # no axes would be all

        if self.ranking == "attribution":  # a channel's whole contribution to the predicted logit
            return summed(gradient * feature).abs()
        return rank(summed(feature), summed(gradient), self.ranking, self.seed)

    def change(self, batch: Representation) -> Tensor:
        """`h' − h`: what the short-circuit does to the feature, in its shape."""
        feature, _ = self.at(batch)
        mask = self.mask(batch)
        if self.intervention == "zero":
            moved = -feature
        else:
            assert self.caps_ is not None
            moved = feature.minimum(self.caps_) - feature
        return torch.where(mask, moved, torch.zeros_like(feature))

    def predicted_logit_after(self, batch: Representation) -> Tensor:
        """Logit `[B]` of the class predicted before, after: first order is `y_c + <g, h' − h>`."""
        if self.update == "exact":
            return self.logits_after(batch).gather(1, batch.predicted[:, None])[:, 0]
        _, gradient = self.at(batch)
        moved = (gradient * self.change(batch)).flatten(1).sum(dim=1)
        return batch.logits.amax(dim=1) + moved

    def logits_after(self, batch: Representation) -> Tensor:
        """All logits `[B,K]` after the short-circuit, by the chosen update."""
        network, split = self._fitted()
        if self.update == "exact" or split.linear:  # for a linear head both are the same numbers
            return self.after(batch)[0]
        if self.intervention == "truncate":  # at what this one learned
            return self._first_order(network, batch)
        cut = (getattr(self, f.name) for f in fields(self) if f.init and f.name not in _READING)
        key = (network, type(self).change, *cut)
        return batch.once(key, lambda: self._first_order(network, batch))

    def _first_order(self, network: Network, batch: Representation) -> Tensor:
        feature, _ = self.at(batch)
        return batch.logits + network.first_order(feature, self.change(batch))[1]

    def after(self, batch: Representation) -> tuple[Tensor, Tensor | None]:
        """Logits `[B,K]` and pooled features `[B,D]` computed again from the cut feature.

        The features are None where the network does not end in a linear layer.
        """
        feature, _ = self.at(batch)
        with torch.no_grad():
            return self._fitted()[0].head_and_features(feature + self.change(batch))

    def at(self, batch: Representation) -> tuple[Tensor, Tensor]:
        """The feature that is cut and the gradient of the predicted logit there, in one shape."""
        assert batch.feature_map is not None and batch.gradient is not None
        return batch.feature_map, batch.gradient

    def _published_score(self, batch: Representation) -> Tensor:
        if self.reading == "residual_logit":
            return -self.predicted_logit_after(batch)
        if self.reading == "energy":
            return -self.logits_after(batch).logsumexp(dim=1)
        if self.reading == "softmax":
            after = self.logits_after(batch)
            return after.logsumexp(dim=1) - after.amax(dim=1)
        if self.reading == "logit_change":
            return (self.logits_after(batch) - batch.logits).abs().sum(dim=1)
        kind = "energy" if self.reading == "relative_energy" else self.confidence
        before = confidence_of(batch.logits, kind, batch.predicted)
        if kind == "logit":
            drop = before - self.predicted_logit_after(batch)
        else:
            drop = before - confidence_of(self.logits_after(batch), kind, batch.predicted)
        return drop if self.reading == "drop" else drop / before.abs().clamp(min=1e-12)

    def _learn_caps(self, calibration: Calibration) -> Tensor:
        """Per channel, the value under which `percentile` of the calibration values lie."""
        feature, _ = self.at(calibration.sample)
        if len(feature) < _MIN_TO_LEARN:
            raise Excused(
                f"needs at least {_MIN_TO_LEARN} calibration images to learn where to truncate; "
                f"there are {len(feature)}"
            )
        values = feature.movedim(self.channel, 0).flatten(1)  # [C, N·positions]
        k = max(1, math.ceil(self.percentile * values.shape[1]))
        caps = values.kthvalue(k, dim=1).values
        shape = [1] * feature.ndim
        shape[self.channel] = -1
        return caps.view(shape)

    def _learn_direction(self, calibration: Calibration) -> bool:
        """Whether surrogate outliers score lower than the images they were made from."""
        surrogates = calibration.surrogates
        if surrogates is None or min(len(surrogates), len(calibration.sample)) < _MIN_TO_LEARN:
            images = 0 if surrogates is None else len(calibration.sample)
            raise Excused(
                f"needs at least {_MIN_TO_LEARN} calibration images to learn its direction; "
                f"there are {images}"
            )
        id_scores, surrogate_scores = map(self._published_score, (calibration.sample, surrogates))
        return separation(id_scores, surrogate_scores).auroc < 0.5

    def _fitted(self) -> tuple[Network, Split]:
        assert self.network_ is not None and self.network_.split is not None, "fit() comes first"
        return self.network_, self.network_.split

    @property
    def channel(self) -> int:
        """Index of the channel axis in the batched feature."""
        return self._fitted()[1].channel

    @staticmethod
    def _require_cut(network: Network) -> None:
        """Raise Excused where there is no feature to cut."""
        if network.split is None:
            raise Excused("this network cannot be cut at any layer")
