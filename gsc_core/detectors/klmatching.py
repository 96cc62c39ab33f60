"""KL divergence to the typical softmax of the nearest class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import LEAST_IMAGES, detached, published, settled

_MISSING_CLASSES = 0.05  # what a threshold that keeps 95 % of ID images can bear


@dataclass(eq=False)
class KLMatching(Detector):
    """Least KL divergence of the softmax to a typical softmax of any predicted class.

    Labels are not read. A class that is never predicted on the calibration images has no typical
    softmax, and its images look unusual: few such classes are tolerated.
    """

    name = "klmatching"
    title = "KL matching"
    about = "How far the probabilities are from the typical probabilities of the nearest class."
    family = Family.LOGITS
    paper = published(ood.KLMatching)
    fitted_with = Fit.IMAGES

    bound_: Any = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the mean softmax of each predicted class."""
        calibration.require_images(LEAST_IMAGES)
        classes = calibration.logits.shape[1]
        predicted = calibration.logits.argmax(dim=1).bincount(minlength=classes)
        never = int((predicted == 0).sum())
        if never > _MISSING_CLASSES * classes:
            raise Excused(
                f"needs calibration images of nearly every class; {never} of {classes} classes are "
                "never predicted on them"
            )
        bound = ood.KLMatching(None).fit_logits(calibration.logits)
        self.bound_ = settled(bound, calibration.network.device)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.bound_ is not None, "fit() comes first"
        return detached(self.bound_.predict_logits(batch.logits))
