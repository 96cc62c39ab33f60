"""Simplified Hopfield energy: agreement with the stored pattern of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytorch_ood import detector as ood

from gsc_core.detectors.base import Calibration, Excused, Fit
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import published
from gsc_core.detectors.library_features import OnFeatures


@dataclass(eq=False)
class SHE(OnFeatures):
    """Inner product with the mean feature of the correctly classified images of the class."""

    name = "she"
    title = "SHE"
    about = "How well the feature matches the stored pattern of the predicted class."
    family = Family.DISTANCE
    paper = published(ood.SHE)
    fitted_with = Fit.IMAGES | Fit.LABELS

    def bind(self, calibration: Calibration) -> Any:
        """The library's SHE; it needs a correctly classified image of every class."""
        linear = calibration.linear
        features = calibration.require_features()
        labelled = calibration.require_labels()
        features, labels = features[labelled], calibration.labels[labelled]
        predicted = linear(features).argmax(dim=1)
        classes = linear.weight.shape[0]
        correct = labels[predicted == labels].bincount(minlength=classes)
        missing = int((correct == 0).sum())
        if missing:
            raise Excused(
                f"needs a correctly classified calibration image of every class; {missing} of "
                f"{classes} classes have none"
            )
        return ood.SHE(None, linear).fit_features(features, labels)
