"""Class names that a model's file does not have, and the images' labels show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gsc_core import imagenet
from gsc_core.classifier.load import Classifier
from gsc_core.images import ImageFile, Partition
from gsc_core.images.names import composed

_NUMBER = re.compile(r"\d+(\.0)?", re.ASCII)


def with_shown_names(
    classifier: Classifier, sets: Partition, indices: Mapping[str, int]
) -> Classifier:
    """With the names that the labels of ID images show: ImageNet's, else the labels themselves."""
    images = [*sets.calibration.images, *sets.test["id"].images]
    return with_names_of_labels(with_imagenet_names(classifier, images), images, indices)


def with_imagenet_names(classifier: Classifier, images: Iterable[ImageFile]) -> Classifier:
    """With ImageNet's class names, where it has 1,000 classes and labels are its WordNet ids."""
    if classifier.class_names is not None:
        return classifier
    labels = (image.label for image in images)
    if not imagenet.is_meant_by(labels, classifier.num_classes):
        return classifier
    return replace(classifier, class_names=imagenet.class_names())


def with_names_of_labels(
    classifier: Classifier, images: Iterable[ImageFile], indices: Mapping[str, int]
) -> Classifier:
    """With the labels as class names, where they give each class one and are no mere numbers.

    `indices` are the classes of the images by digest, −1 unknown. A class without images leaves all
    without names: half of them by name and half by number would not be read.
    """
    if classifier.class_names is not None:
        return classifier
    names: dict[int, str] = {}
    for image in images:
        at = indices[image.sha256]
        if (
            at >= 0
            and image.label
            and names.setdefault(at, composed(image.label)) != composed(image.label)
        ):
            return classifier
    if len(names) < classifier.num_classes or all(map(_NUMBER.fullmatch, names.values())):
        return classifier
    return replace(classifier, class_names=tuple(names[at] for at in range(classifier.num_classes)))
