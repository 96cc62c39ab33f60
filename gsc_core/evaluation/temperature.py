"""Temperature scaling: one number by which logits are divided, so that a confidence is meant.

The predicted class stays, only how sure it sounds changes (Guo, Pleiss, Sun and Weinberger, 2017).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from gsc_core.evaluation.metrics import Floats

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]

LEAST, MOST = 0.02, 50.0
"""Temperatures that are looked at: at either end all confidences are alike."""

_AT_ONCE = 1 << 22  # logits, of which a copy in float64 is worked on


def fit_temperature(logits: Logits, labels: Labels) -> float | None:
    """The temperature under which images `[N]` with logits `[N,K]` are most likely as labelled.

    It has the least mean log loss, which is convex in 1 / temperature: its slope there rises, and
    is zero at one place. Images whose label is −1 are not looked at.

    None without labels, and where there is no such place between the ends: such as where every
    image is right, so that no confidence is too high, or where the logits say nothing.
    """
    labelled = labels >= 0
    z, y = logits[labelled], labels[labelled]
    if not len(y):
        return None

    def slope(log_inverse: float) -> float:
        """Of the log loss along 1 / temperature: the logit expected less the label's."""
        inverse = np.exp(log_inverse)
        parts = [
            (softmax(inverse * some, axis=1) * some).sum() - _of_label(some, of_some).sum()
            for some, of_some in _slices(z, y)
        ]
        return float(np.sum(parts) / len(y))

    ends = -np.log(MOST), -np.log(LEAST)
    if not slope(ends[0]) < 0 < slope(ends[1]):
        return None
    return float(np.exp(-brentq(slope, *ends, xtol=1e-6)))


def log_losses(logits: Logits, labels: Labels, temperature: float = 1.0) -> Floats:
    """Minus the log of the label's softmax `[N]`, of logits `[N,K]` divided by a temperature."""
    parts = [
        logsumexp(some / temperature, axis=1) - _of_label(some, of_some) / temperature
        for some, of_some in _slices(logits, labels)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _of_label(logits: Floats, labels: Labels) -> Floats:
    return np.asarray(logits[np.arange(len(labels)), labels])


def _slices(logits: Logits, labels: Labels) -> Iterator[tuple[Floats, Labels]]:
    size = max(1, _AT_ONCE // max(1, logits.shape[1]))
    for start in range(0, len(logits), size):
        part = slice(start, start + size)
        yield logits[part].astype(np.float64), labels[part]
