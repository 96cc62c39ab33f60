"""Distance to the k-th nearest calibration feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation, knob
from gsc_core.detectors.distances import Points
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published


@dataclass(eq=False)
class KNN(Detector):
    """Distance of the normalised feature to its k-th nearest calibration feature.

    The paper uses k = 10 with 13,000 ImageNet images and 1,000 with all of them; its score hardly
    depends on k when k grows with the number of images.

    The library's own searches outside torch; this one is plain torch, so that it can be exported.
    """

    k: int = knob(10, "which nearest neighbour counts", low=1)

    name = "knn"
    title = "Nearest neighbours"
    about = "How far the image is from the familiar images that resemble it most."
    family = Family.DISTANCE
    paper = published(ood.KNN)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    bank_: Points | None = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Keep the normalised calibration features `[N,D]`, in float64."""
        features = calibration.require_features(max(self.k, LEAST_IMAGES))
        self.bank_ = Points.of(double(torch.nn.functional.normalize(features)))
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]` in float64; higher = more likely OOD."""
        assert self.bank_ is not None, "fit() comes first"
        assert batch.features is not None
        direction = torch.nn.functional.normalize(batch.features.detach())
        distances = self.bank_.distances(double(direction))
        return distances.kthvalue(self.k, dim=1).values
