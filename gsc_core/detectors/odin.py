"""ODIN: a small step on the pixels towards the predicted class, then the softmax when cooled down.

With AdaSCALE the one that goes back to the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

import torch
from pytorch_ood import detector as ood
from pytorch_ood.detector.odin import odin_preprocessing
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Detector, Need, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.msp import doubt


@dataclass(eq=False)
class ODIN(Detector):
    """`−log max softmax(y / T)`, less `log K`, after a step of `eps` that raises the confidence.

    The step is on each pixel, in the units of the preprocessed image. At T = 1,000 all
    probabilities are near 1/K: without float64, and `log K` taken off, they would tie.
    Temperature and step are the paper's.
    """

    temperature: float = knob(1000.0, "divides the logits", low=1.0, high=1e5)
    eps: float = knob(0.0014, "size of the step on each pixel", low=0.0, high=1.0)

    name = "odin"
    title = "ODIN"
    about = "Nudges the pixels towards the predicted class: familiar images gain more confidence."
    family = Family.GRADIENT
    paper = published(ood.ODIN)
    needs = Need.LOGITS | Need.IMAGES
    extra_forwards = 3.4  # a pass with its gradient down to the pixels, and one more

    network_: Network | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Keep the network; nothing is learned."""
        self.network_ = calibration.network
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.network_ is not None, "fit() comes first"
        assert batch.images is not None
        images = self._nudged(self.network_, batch.images)
        with torch.no_grad():
            logits = self.network_(images)
        return doubt(double(logits) / self.temperature) - math.log(logits.shape[1])

    def _nudged(self, network: Network, images: Tensor) -> Tensor:
        # a gradient is needed, whatever the caller's mode
        with torch.inference_mode(False), network.flags():
            nudged: Tensor = odin_preprocessing(
                network, images, eps=self.eps, temperature=self.temperature
            )
        return nudged
