"""Several detectors as one: the mean of where each ranks an image among calibration images.

Ranks need no common scale: 0.97 means less familiar than 97 % of the familiar images, whatever the
detector. The parts are detectors of the same audit, so a combination costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation
from gsc_core.detectors.facts import Family
from gsc_core.detectors.selection_loss import rank

Columns = Mapping[str, Tensor]
"""Outlier scores by the detector's name."""


@dataclass(frozen=True)
class SurrogateScores:
    """Outlier scores `[S]` of surrogate outliers, and their kinds `[S]` as in `Surrogates`."""

    columns: Columns
    kinds: Tensor


@dataclass(eq=False)
class Ensemble(Detector):
    """Mean calibration rank, 0 to 1, of its parts; higher = more likely OOD.

    An audit scores the parts anyway: it lets the ensemble `learn` from their columns and `combine`
    them. By itself `fit` makes parts of its own, and ranks by scores of images that these have
    learned from: for a detector that keeps single images, such as KNN, that flags too much.
    """

    family: ClassVar[Family] = Family.FUSION
    parts: ClassVar[tuple[type[Detector], ...]]

    parts_: tuple[Detector, ...] = field(default=(), init=False, repr=False)
    ranks_: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Fit the parts, and learn ranks from their scores of the calibration's sample."""
        fitted: list[Detector] = []
        for part in self.required():
            try:
                fitted.append(part().fit(calibration))
            except Excused:
                continue
        sample, surrogates = calibration.sample, calibration.surrogates
        self.join(fitted)
        self.learn(
            {part.name: part.score(sample) for part in fitted},
            None
            if surrogates is None
            else SurrogateScores(
                {part.name: part.score(surrogates) for part in fitted}, surrogates.kinds
            ),
        )
        return self

    def required(self) -> tuple[type[Detector], ...]:
        """The detectors that must be scored beside it."""
        return self.parts

    def join(self, detectors: Iterable[Detector]) -> None:
        """Take the parts from fitted detectors; raises Excused where one is missing."""
        there = {detector.name: detector for detector in detectors}
        for part in self.required():
            if part.name not in there:
                raise Excused(f"needs {part.name}, which cannot run here")
        self.parts_ = tuple(there[part.name] for part in self.required())

    def learn(
        self,
        id_scores: Columns,
        surrogates: SurrogateScores | None,
        tuned_on: Tensor | None = None,
    ) -> None:
        """Learn the ranks from scores of calibration images `[N]`; surrogates' are not needed.

        `tuned_on [N]` are the images that given settings were learned from.
        """
        self.ranks_ = {
            part.name: double(id_scores[part.name]).sort().values for part in self.parts_
        }

    def combine(self, columns: Columns) -> Tensor:
        """Scores `[B]` from those of the parts, `[B]` each; ties count half."""
        return torch.stack([rank(r, columns[name]) for name, r in self.ranks_.items()]).mean(dim=0)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        # float32, as the columns of an audit are: in float64 none would tie with its own rank
        return self.combine({part.name: part.score(batch).float() for part in self.parts_})


def ensemble_of(parts: Sequence[type[Detector]]) -> type[Ensemble]:
    """The ensemble of these detectors, named after them with `+` between."""
    names = "+".join(part.name for part in parts)
    about = f"Mean rank of {' and '.join(part.title for part in parts)}."
    needs, fitted_with = union_of(parts)
    content = {"name": names, "title": names, "about": about, "parts": tuple(parts)}
    return type(names, (Ensemble,), {**content, "needs": needs, "fitted_with": fitted_with})


def union_of(parts: Sequence[type[Detector]]) -> tuple[Need, Fit]:
    """What they read together, and what they are fitted with."""
    needs, fitted_with = Need.LOGITS, Fit.NOTHING
    for part in parts:
        needs, fitted_with = needs | part.needs, fitted_with | part.fitted_with
    return needs, fitted_with


def with_parts(detectors: Sequence[Detector]) -> list[Detector]:
    """The detectors, and what ensembles among them need beside them, ensembles last."""
    single = {
        detector.name: detector for detector in detectors if not isinstance(detector, Ensemble)
    }
    ensembles = [detector for detector in detectors if isinstance(detector, Ensemble)]
    for ensemble in ensembles:
        for part in ensemble.required():
            single.setdefault(part.name, part())
    return [*single.values(), *ensembles]
