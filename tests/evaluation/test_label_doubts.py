"""Doubtful labels against the formula written out, image by image, and on planted errors."""

import numpy as np
import pytest

from gsc_core.evaluation.label_doubts import FEWEST, UNLIKELY, label_doubts


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def sample(images: int = 600, classes: int = 4, wrong: int = 30, seed: int = 0):
    """A classifier that is usually right, and labels of which some are another class."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    logits = rng.normal(0, 1, (images, classes))
    logits[np.arange(images), truth] += 6
    labels = truth.copy()
    planted = rng.choice(images, wrong, replace=False)
    labels[planted] = (labels[planted] + rng.integers(1, classes, wrong)) % classes
    return softmax(logits), labels, frozenset(planted.tolist())


def of(shares: np.ndarray, labels: np.ndarray):
    own = np.where(labels < 0, np.nan, shares[np.arange(len(labels)), labels])
    return label_doubts(labels, shares.argmax(axis=1), shares.max(axis=1), own)


def by_hand(shares: np.ndarray, labels: np.ndarray) -> set[int]:
    """The off-diagonal cells of the confident joint whose class is the one that is predicted."""
    classes = shares.shape[1]
    usual = [shares[labels == k, k].mean() for k in range(classes)]
    doubted = set()
    for at, (row, label) in enumerate(zip(shares, labels, strict=True)):
        sure = [k for k in range(classes) if row[k] >= usual[k]]
        best = max(sure, key=lambda k: row[k], default=None)
        other = best is not None and best != label and best == int(row.argmax())
        if other and row[label] < usual[label] and row[label] <= UNLIKELY:
            doubted.add(at)
    return doubted


def test_equals_the_confident_joint_written_out():
    for seed in range(5):
        shares, labels, _ = sample(seed=seed)
        assert set(of(shares, labels).images.tolist()) == by_hand(shares, labels) != set()


def test_planted_errors_are_nearly_all_and_nearly_alone():
    shares, labels, planted = sample(3000, 5, 150)
    doubted = set(of(shares, labels).images.tolist())
    assert len(doubted & planted) >= 0.5 * len(planted)
    assert len(doubted & planted) >= 0.95 * len(doubted)


def test_the_worst_comes_first_and_unknown_labels_are_left_alone():
    shares, labels, _ = sample()
    labels[::3] = -1
    doubted = of(shares, labels).images
    margin = shares.max(axis=1)[doubted] - shares[doubted, labels[doubted]]
    assert (np.diff(margin) <= 0).all() and (labels[doubted] >= 0).all() and len(doubted)
    nothing = of(shares, np.full(len(labels), -1))
    assert not len(nothing.images)


def test_a_class_with_few_images_is_held_to_the_mean_of_all():
    shares, labels, _ = sample(400, 3, 0)
    rare = np.flatnonzero(labels == 2)[FEWEST - 1 :]
    labels[rare] = -1
    known = labels >= 0
    own = shares[np.arange(400), labels.clip(0)]
    assert of(shares, labels).usual[2] == own[known].mean()
    assert of(shares, labels).usual[0] == pytest.approx(shares[labels == 0, 0].mean())
