"""AdaSCALE: logits scaled by how much a trifling change of the pixels moves the feature.

One of two detectors that go back to the images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Excused,
    Fit,
    Need,
    Representation,
    knob,
)
from gsc_core.detectors.facts import Family, Paper
from gsc_core.detectors.gsc import count, select
from gsc_core.detectors.library import LEAST_IMAGES

_SHIFTED, _STRONG = 0.01, 0.05  # shares of the strongest features whose shift and size are read
_WEIGHT = 10.0  # of the shift, against the size
_ROUNDING = 1e-4
_AT_ONCE = 32  # images in a pass with gradients


@dataclass(eq=False)
class AdaSCALE(Detector):
    """Energy of the logits times `r²`, with `r` the sum of the features over that of the strongest.

    How many are strong is set for each image: the pixel values on which the predicted logit hangs
    least are moved by `step`, and the more its strongest features shift, the fewer weak ones are
    left out: the share lies between `least` and `most`, by the rank of the shift among those of
    calibration images. This is the paper's variant that scales logits (AdaSCALE-L).
    """

    pixels: float = knob(0.05, "share of the pixel values that are moved", low=0.0, high=1.0)
    step: float = knob(0.5, "how far they are moved, after preprocessing", low=0.0, high=10.0)
    least: float = knob(0.6, "share of weak features in the least stable image", low=0.0, high=0.99)
    most: float = knob(0.85, "share of weak features in the most stable image", low=0.0, high=0.99)

    name = "adascale"
    title = "AdaSCALE"
    about = "Scales the logits by how steady the features are when unimportant pixels are changed."
    family = Family.SHAPING
    paper = Paper(
        "AdaSCALE: Adaptive Scaling for OOD Detection",
        "arXiv",
        2025,
        "https://arxiv.org/abs/2503.08023",
    )
    needs = Need.LOGITS | Need.FEATURES | Need.IMAGES
    fitted_with = Fit.IMAGES
    extra_forwards = 3.4  # a pass with its gradient down to the pixels, and one more

    network_: Network | None = field(default=None, init=False, repr=False)
    shifts_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn how far the features of the sample's images shift, `[n]` rising."""
        _ = calibration.linear
        self.network_ = calibration.network
        sample = calibration.sample
        if len(sample) < LEAST_IMAGES:
            raise Excused(
                f"needs at least {LEAST_IMAGES} calibration images; there are {len(sample)}"
            )
        learned = calibration.learned.get(self.name)
        if learned is None:
            if sample.images is None:
                raise Excused("needs the pixels of calibration images, which are not there")
            slices = range(0, len(sample), _AT_ONCE)
            learned = torch.cat([self._shift(sample[at : at + _AT_ONCE]) for at in slices])
        self.shifts_ = learned.sort().values
        return self

    def learned_from_pixels(self) -> Tensor | None:
        """The shifts `[n]` of the sample's images."""
        return self.shifts_

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.shifts_ is not None, "fit() comes first"
        assert batch.features is not None
        shift = self._shift(batch)
        # a calibration image is not below itself for how its batch was rounded
        rank = (self.shifts_ <= shift[:, None] * (1 + _ROUNDING)).double().mean(dim=1)
        weak = self.least + (1 - rank) * (self.most - self.least)
        factor = _sum_over_strongest(double(batch.features.detach()).relu(), weak).square()
        return -(factor[:, None] * double(batch.logits.detach())).logsumexp(dim=1)

    def _shift(self, batch: Representation) -> Tensor:
        """How far the strongest features shift `[B]` in float64, and how strong they then are."""
        assert self.network_ is not None and batch.images is not None
        features = batch.features
        assert features is not None
        with torch.inference_mode(False):
            moved = self._moved(self.network_, batch.images)
            with torch.no_grad():
                after = self.network_.head_and_features(self.network_.body(moved))[1]
        assert after is not None
        before, after = double(features.detach()), double(after)
        dimensions = before.shape[1]
        shifted, strong = (
            before.topk(max(1, int(share * dimensions)), dim=1).indices
            for share in (_SHIFTED, _STRONG)
        )
        shift = (before - after).abs().gather(1, shifted).sum(dim=1)
        return _WEIGHT * shift + after.relu().gather(1, strong).sum(dim=1)

    def _moved(self, network: Network, images: Tensor) -> Tensor:
        """The images with the values moved on which the predicted logit hangs least."""
        with torch.enable_grad():  # a gradient is needed, whatever the caller's mode
            leaf = images.detach().clone().requires_grad_()
            gradient = network.gradient(network(leaf).amax(dim=1), leaf)
        size = gradient.flatten(1).abs()
        least = select(-size, count(self.pixels, size.shape[1])).view_as(gradient)
        return torch.where(least, leaf.detach() + self.step * gradient.sign(), leaf.detach())


def _sum_over_strongest(features: Tensor, weak: Tensor) -> Tensor:
    """Sum of the features `[B,D]`, none negative, over that of all but the share `weak [B]`."""
    dimensions = features.shape[1]
    falling = features.sort(dim=1, descending=True).values.cumsum(dim=1)
    strong = (dimensions - (dimensions * weak).round()).long().clamp(min=1)
    of_strongest = falling.gather(1, strong[:, None] - 1)[:, 0]
    return torch.where(of_strongest > 0, falling[:, -1] / of_strongest.clamp(min=1e-30), 1.0)
