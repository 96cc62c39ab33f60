"""Labels that are likely wrong, as confident learning has it.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
2021: an image labelled i belongs to class j ≠ i where the classifier is at least as sure of j as it
usually is of images that are labelled j.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_core.evaluation.metrics import Floats

FEWEST = 10  # labelled images of a class, under which its mean is taken over all classes
UNLIKELY = 0.01  # self-confidence above which no label is doubted: most classifiers err more often

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LabelDoubts:
    """Which of the images are doubted, the worst first, and the usual self-confidence `[K]`."""

    images: NDArray[np.intp]
    usual: Floats


def label_doubts(
    labels: Integers, predicted: Integers, confidence: Floats, self_confidence: Floats
) -> LabelDoubts:
    """Doubt the label of an image whose predicted class is another and as sure as that usually is.

    `labels [N]` (−1 unknown) and `predicted [N]` are class indices, `confidence [N]` that of the
    predicted class and `self_confidence [N]` that of the label, both at a temperature that makes
    them honest. The usual one of a class is the mean self-confidence of the images with its label;
    the label's own must lie below its class's, and be at most 1 in 100: the mistakes of a
    classifier that is usually 80 % sure would else be most of what is doubted. The worst first: by
    how much more sure the classifier is of its answer than of the label.
    """
    labelled = np.flatnonzero((labels >= 0) & np.isfinite(self_confidence))
    classes = 1 + max(labels.max(initial=-1), predicted.max(initial=-1))
    counts = np.bincount(labels[labelled], minlength=classes)
    sums = np.bincount(labels[labelled], self_confidence[labelled], minlength=classes)
    overall = self_confidence[labelled].mean() if len(labelled) else np.nan
    usual = np.where(counts >= FEWEST, sums / np.maximum(counts, 1), overall)
    own, answer = labels[labelled], predicted[labelled]
    doubted = labelled[
        (own != answer)
        & (confidence[labelled] >= usual[answer])
        & (self_confidence[labelled] < usual[own])
        & (self_confidence[labelled] <= UNLIKELY)
    ]
    margin = confidence[doubted] - self_confidence[doubted]
    return LabelDoubts(doubted[np.argsort(-margin, kind="stable")], usual)
