"""Scores of many settings to the rows of an ablation's table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gsc_core.ablation.grid import Layer, Trial
from gsc_core.evaluation.intervals import MEAN, Intervals, evaluate
from gsc_core.evaluation.metrics import metrics
from gsc_core.scoring.calibration import Calibrated
from gsc_core.scoring.scorer import Scores

SHOWN = ("fpr95", "auroc")
_SETTINGS = (
    "share",
    "granularity",
    "ranking",
    "intervention",
    "update",
    "reading",
    "confidence",
    "direction",
)


@dataclass(frozen=True)
class Measured:
    """One layer's scores: by set, those of every detector on the same images.

    labels: class index of each ID image, −1 unknown. turned: by detector, whether surrogate
    outliers turned its direction.
    """

    layer: Layer
    trials: Sequence[Trial]
    scores: Mapping[str, Scores]
    labels: Sequence[int]
    turned: Mapping[str, bool]
    calibrated: Calibrated

    @property
    def id_accuracy(self) -> float | None:
        """Share of labelled ID images named correctly by the untouched network."""
        return self._accuracy(self.scores["id"].predicted)

    def accuracy_after(self, detector: str) -> float | None:
        """The same after the detector's short-circuit; None without one or without labels."""
        after = self.scores["id"].predicted_after.get(detector)
        return None if after is None else self._accuracy(after)

    def surrogate_auroc(self, detector: str) -> float | None:
        """How well the detector, in its learned direction, tells surrogate outliers."""
        surrogates = self.calibrated.surrogates
        if surrogates is None or detector not in surrogates.outlier:
            return None
        ours = self.calibrated.scores.outlier[detector][: self.calibrated.sample]
        return metrics(ours.numpy(), surrogates.outlier[detector].numpy()).auroc

    def _accuracy(self, predicted: Tensor) -> float | None:
        labels = torch.tensor(self.labels)
        known = labels >= 0
        if not bool(known.any()):
            return None
        return float((labels[known] == predicted[known]).double().mean())


def rows_of(
    measured: Measured, repeats: int, seed: int, step: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """A row for each trial and OOD set (and their mean); trials that could not run are left out."""
    found: dict[tuple[str, bool], Intervals] = {}
    rows: list[dict[str, Any]] = []
    for at, trial in enumerate(measured.trials):
        if any(trial.detector not in scores.outlier for scores in measured.scores.values()):
            continue
        against = trial.published_direction and measured.turned[trial.detector]
        key = (trial.detector, against)
        if key not in found:
            found[key] = _evaluated(measured, trial.detector, against, repeats, seed)
            step(f"measuring {measured.layer.name}", at, len(measured.trials))
        rows += _rows(measured, trial, against, found[key])
    return rows


def rank_correlation(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Spearman's, over all settings, of the AUROC on surrogate outliers with the mean real one."""
    table = pd.DataFrame(rows)
    learned = (table["ood_set"] == MEAN) & (table["direction"] == "learned")
    once = table[learned].drop_duplicates(["layer", "detector"])
    pairs = once[["surrogate_auroc", "auroc"]].astype(float).dropna()
    if len(pairs) < 3 or (pairs.nunique() < 2).any():
        return None
    return float(pairs["surrogate_auroc"].corr(pairs["auroc"], method="spearman"))


def _evaluated(
    measured: Measured, detector: str, against: bool, repeats: int, seed: int
) -> Intervals:
    """Metrics with intervals; `against` takes a learned direction back to the published one."""
    sign = -1 if against else 1
    ood = {name: sign * each.outlier[detector].numpy() for name, each in measured.scores.items()}
    return evaluate(ood.pop("id"), ood, repeats, seed)


def _rows(
    measured: Measured, trial: Trial, against: bool, found: Intervals
) -> Iterator[dict[str, Any]]:
    settings = trial.settings or {}
    about = {
        "layer": measured.layer.name,
        "depth": measured.layer.depth,
        "base": trial.base,
        "factor": trial.factor,
        "level": trial.level,
        "detector": trial.detector,
        **{name: settings.get(name) for name in _SETTINGS},
        "turned": measured.turned.get(trial.detector, False) and not against,
        "backwards": against,
        "id_accuracy_after": measured.accuracy_after(trial.detector),
        "surrogate_auroc": measured.surrogate_auroc(trial.detector),
    }
    for ood_set, intervals in found.items():
        row = {**about, "ood_set": ood_set}
        for metric in SHOWN:
            interval = intervals[metric]
            low, high = min(interval.low, interval.value), max(interval.high, interval.value)
            row |= {metric: interval.value, f"{metric}_low": low, f"{metric}_high": high}
        yield row
