"""Distance to the decision boundaries, without the library's K×K×D intermediate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, published


@dataclass(eq=False)
class FDBD(Detector):
    """Mean distance to the other classes' boundaries, relative to the mean feature's distance.

    To the boundary between predicted class `p` and class `c` it is `(y_p − y_c) / ‖w_p − w_c‖`.
    """

    name = "fdbd"
    title = "fDBD"
    about = "How far the feature is from the borders to all other classes."
    family = Family.BOUNDARY
    paper = published(ood.fDBD)
    needs = Need.LOGITS | Need.FEATURES
    fitted_with = Fit.IMAGES

    mean_: Tensor | None = field(default=None, init=False, repr=False)
    closeness_: Tensor | None = field(default=None, init=False, repr=False)  # 1/‖w_p − w_c‖ [K,K]

    def fit(self, calibration: Calibration) -> Self:
        """Learn the mean feature, and the distances between the classes' weights."""
        self.mean_ = calibration.require_features(LEAST_IMAGES).mean(dim=0)
        self.closeness_ = calibration.linear.closeness
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.mean_ is not None and self.closeness_ is not None, "fit() comes first"
        assert batch.features is not None
        top, predicted = batch.logits.max(dim=1, keepdim=True)
        distances = (top - batch.logits) * self.closeness_[predicted[:, 0]]
        others = max(1, batch.logits.shape[1] - 1)
        from_mean: Tensor = (batch.features - self.mean_).norm(dim=1).clamp(min=1e-8)
        return -(distances.sum(dim=1) / (others * from_mean)).detach()
