"""One Gaussian a class, each with a covariance of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import Calibration, Excused, Fit, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_features import OnFeatures


@dataclass(eq=False)
class GMM(OnFeatures):
    """Negative log-likelihood under one Gaussian a class, each with a covariance of its own."""

    reg: float = knob(1e-6, "added to the variances", low=1e-12, high=1e3)

    name = "gmm"
    title = "Gaussian mixture"
    about = "How unlikely the feature is when every class is a Gaussian of its own shape."
    family = Family.DISTANCE
    paper = published(ood.GMM)
    fitted_with = Fit.IMAGES | Fit.LABELS

    def bind(self, calibration: Calibration) -> Any:
        """The library's GMM; a covariance needs more images of each class than dimensions."""
        features = calibration.require_features()
        labelled = calibration.require_labels()
        features, labels = features[labelled], calibration.labels[labelled]
        counts = labels.bincount()
        fewest = int(counts[counts > 0].min())
        if fewest <= features.shape[1]:
            raise Excused(
                f"needs at least {features.shape[1] + 1} calibration images of each class, more "
                f"than the features have dimensions; one class has {fewest}"
            )
        try:
            return ood.GMM(None, self.reg).fit_features(features, labels)
        except ValueError:  # the library's word for a covariance that cannot be inverted
            raise Excused(f"a class does not vary enough for reg={self.reg}; raise it") from None
