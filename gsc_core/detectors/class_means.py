"""Means of the features of each class."""

from __future__ import annotations

from torch import Tensor


def class_means(features: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean `[count,D]` of the features `[N,D]` of each class, and how many images it has `[count]`.

    `classes [N]` are numbers below `count`; a class without an image has the mean of all.
    """
    images = classes.bincount(minlength=count)
    sums = features.new_zeros(count, features.shape[1]).index_add(0, classes, features)
    means = sums / images.clamp(min=1)[:, None]
    means[images == 0] = features.mean(dim=0)
    return means, images
