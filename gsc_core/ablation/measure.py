"""Scores of many settings to the rows of an ablation's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from gsc_core.ablation.grid import Layer, Trial
from gsc_core.evaluation import paired
from gsc_core.evaluation.interval import MEAN, Interval
from gsc_core.evaluation.metrics import Floats, metrics
from gsc_core.evaluation.paired import COMPARED, difference
from gsc_core.scoring.calibration import Calibrated
from gsc_core.scoring.scorer import Scores

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


class Key(NamedTuple):
    """What is measured; `flipped_back` takes a learned direction back to the published one."""

    layer: str
    detector: str
    flipped_back: bool


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
    flipped: Mapping[str, bool]
    calibrated: Calibrated

    @property
    def id_accuracy(self) -> float | None:
        """Share of labelled ID images named correctly by the untouched network."""
        return self._accuracy(self.scores["id"].predicted)

    def ran(self, trial: Trial) -> bool:
        """Whether the trial's detector could score every set."""
        return all(trial.detector in scores.outlier for scores in self.scores.values())

    def key(self, trial: Trial) -> Key:
        """What a trial measures; the same for trials whose scores are the same."""
        flipped_back = trial.published_direction and self.flipped.get(trial.detector, False)
        return Key(self.layer.name, trial.detector, flipped_back)

    def scores_of(self, key: Key) -> tuple[Floats, dict[str, Floats]]:
        """Outlier scores `[N]` of ID and `[M]` of each OOD set."""
        sign = -1 if key.flipped_back else 1
        scores = {
            n: sign * of_set.outlier[key.detector].numpy() for n, of_set in self.scores.items()
        }
        return scores.pop("id"), scores

    def accuracy_after(self, detector: str) -> float | None:
        """The same after the detector's short-circuit; None without one or without labels."""
        after = self.scores["id"].predicted_after.get(detector)
        return None if after is None else self._accuracy(after)

    def surrogate_auroc(self, detector: str) -> float | None:
        """How well the detector, in its learned direction, tells surrogate outliers."""
        surrogates = self.calibrated.surrogates
        if surrogates is None or detector not in surrogates.outlier:
            return None
        id_scores = self.calibrated.scores.outlier[detector][: self.calibrated.sample]
        return metrics(id_scores.numpy(), surrogates.outlier[detector].numpy()).auroc

    def _accuracy(self, predicted: Tensor) -> float | None:
        labels = torch.tensor(self.labels)
        labelled = labels >= 0
        if not bool(labelled.any()):
            return None
        return float((labels[labelled] == predicted[labelled]).double().mean())


def rows_of(
    layers: Sequence[Measured], step: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """A row for each trial and OOD set (and their mean); trials that could not run are left out.

    All layers scored the same images in the same order, so that a row's difference to the one it is
    compared with counts what both find hard only once.
    """
    by_key = _measure(layers, step)
    deep = next(measured for measured in layers if measured.layer.depth == "deep")
    return [
        row
        for measured in layers
        for trial in measured.trials
        if measured.ran(trial)
        for row in _rows(measured, trial, deep if trial.across else measured, by_key)
    ]


def rank_correlation(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Spearman's, over all settings, of the AUROC on surrogate outliers with the mean real one."""
    table = pd.DataFrame(rows)
    learned = (table["ood_set"] == MEAN) & (table["direction"] == "learned")
    once = table[learned].drop_duplicates(["layer", "detector"])
    pairs = once[["surrogate_auroc", "auroc"]].astype(float).dropna()
    if len(pairs) < 3 or (pairs.nunique() < 2).any():
        return None
    return float(pairs["surrogate_auroc"].corr(pairs["auroc"], method="spearman"))


def _measure(
    layers: Sequence[Measured], step: Callable[[str, int, int], None]
) -> dict[Key, paired.Measured]:
    """Every measurement of the trials that could run, each made once."""
    by_key: dict[Key, paired.Measured] = {}
    for measured in layers:
        for at, trial in enumerate(measured.trials):
            key = measured.key(trial)
            if key not in by_key and measured.ran(trial):
                by_key[key] = paired.measure(*measured.scores_of(key))
                step(f"measuring {measured.layer.name}", at, len(measured.trials))
    return by_key


def _rows(
    measured: Measured, trial: Trial, there: Measured, by_key: Mapping[Key, paired.Measured]
) -> Iterator[dict[str, Any]]:
    """The rows of a trial, compared with its partner at the layer of `there`."""
    settings, key = trial.settings or {}, measured.key(trial)
    partner = trial.against or trial
    of_partner = by_key.get(there.key(partner))
    about = {
        "layer": measured.layer.name,
        "depth": measured.layer.depth,
        "base": trial.base,
        "factor": trial.factor,
        "level": trial.level,
        "detector": trial.detector,
        **{name: settings.get(name) for name in _SETTINGS},
        "turned": measured.flipped.get(trial.detector, False) and not key.flipped_back,
        "backwards": key.flipped_back,
        "id_accuracy_after": measured.accuracy_after(trial.detector),
        "surrogate_auroc": measured.surrogate_auroc(trial.detector),
        "against": partner.title if of_partner else None,
        "against_layer": there.layer.name if of_partner else None,
    }
    for figures in _figures(by_key[key], of_partner):
        yield about | figures


def _figures(
    of_trial: paired.Measured, of_partner: paired.Measured | None
) -> Iterator[dict[str, Any]]:
    """The measures of each OOD set, and their differences to another row (NaN where it is not)."""
    by_set = of_trial.intervals()
    differences = difference(of_trial, of_partner) if of_partner else {}
    unknown = Interval(math.nan, math.nan, math.nan)
    for ood_set, intervals in by_set.items():
        row: dict[str, Any] = {"ood_set": ood_set}
        for metric in COMPARED:
            row |= _columns(metric, intervals[metric])
            row |= _columns(
                f"{metric}_difference", differences.get(ood_set, {}).get(metric, unknown)
            )
        yield row


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
