"""Class names that a model's file does not have, and the images' labels show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gsc_core import imagenet
from gsc_core.classifier.load import Classifier
from gsc_core.images import ImageFile


def with_imagenet_names(classifier: Classifier, images: Iterable[ImageFile]) -> Classifier:
    """With ImageNet's class names, where it has 1,000 classes and labels are its WordNet ids."""
    if classifier.class_names is not None:
        return classifier
    labels = (image.label for image in images)
    if not imagenet.is_meant_by(labels, classifier.num_classes):
        return classifier
    return replace(classifier, class_names=imagenet.class_names())
