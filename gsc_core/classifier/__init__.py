"""A user's checkpoint to a Classifier: formats, architectures, preprocessing, split."""

from gsc_core.classifier.load import Classifier, ModelSpec, classifier_from_module, load_classifier
from gsc_core.classifier.preprocessing import Preprocessing

__all__ = [
    "Classifier",
    "ModelSpec",
    "Preprocessing",
    "classifier_from_module",
    "load_classifier",
]
