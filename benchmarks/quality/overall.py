"""The mean over subjects: our recommended detectors, and what each part of the fusion brings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.quality.table import OURS, Key, best_single, estimates
from gsc_core.evaluation.intervals import MEAN

ENERGY: Key = ("EnergyBased", "pytorch-ood")


@dataclass(frozen=True)
class Line:
    """FPR95 and AUROC, in 0..1, of each subject; what they mean is their mean."""

    name: str
    fpr95: tuple[float, ...]
    auroc: tuple[float, ...]

    @property
    def means(self) -> tuple[float, float]:
        """Mean FPR95 and AUROC over the subjects."""
        return float(np.mean(self.fpr95)), float(np.mean(self.auroc))


def overall(frames: Sequence[pd.DataFrame], judged: Sequence[str]) -> list[Line]:
    """Energy, the best single baseline of each subject, and our `judged` detectors.

    A detector that some subject lacks has no line.
    """
    bests = [best_single(frame, MEAN)[0] for frame in frames]
    energies, lines = [ENERGY] * len(frames), []
    for name, keys in (("energy", energies), ("best single baseline of each", bests)):
        lines += _line(name, frames, keys)
    for name in judged:
        lines += _line(name, frames, [(name, OURS)] * len(frames))
    return lines


def parts(frames: Sequence[pd.DataFrame]) -> list[Line]:
    """auto-ensemble with a part left out, what its loss costs most first; as `overall`."""
    if not all(len(frame) for frame in frames):
        return []
    keys = [set(zip(frame["detector"], frame["whose"], strict=True)) for frame in frames]
    shared = sorted(set.intersection(*keys))
    lines = [line for key in shared for line in _line(key[0], frames, [key] * len(frames))]
    return sorted(lines, key=lambda line: -line.means[0])


def _line(name: str, frames: Sequence[pd.DataFrame], keys: Iterable[Key]) -> list[Line]:
    figures: dict[str, list[float]] = {"fpr95": [], "auroc": []}
    for frame, key in zip(frames, keys, strict=True):
        for metric, values in figures.items():
            of_key = estimates(frame, metric).get(key)
            if of_key is None:
                return []
            values.append(of_key[MEAN].value)
    return [Line(name, tuple(figures["fpr95"]), tuple(figures["auroc"]))]
