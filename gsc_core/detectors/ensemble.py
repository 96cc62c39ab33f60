"""Several detectors as one: the mean of where each ranks an image among calibration images.

Ranks need no common scale: 0.97 means less familiar than 97 % of the familiar images, whatever the
detector. The parts are detectors of the same audit, so a combination costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Calibration, Detector, Excused, Fit, Need, Representation, knob
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.facts import AUTO, Family
from gsc_core.detectors.fdbd import FDBD
from gsc_core.detectors.gen import GEN
from gsc_core.detectors.knn import KNN
from gsc_core.detectors.mahalanobis import Mahalanobis
from gsc_core.detectors.msp import MSP
from gsc_core.detectors.nci import NCI
from gsc_core.detectors.nnguide import NNGuide
from gsc_core.detectors.react import ReAct
from gsc_core.detectors.scale import SCALE
from gsc_core.detectors.selection_loss import by_kind, rank
from gsc_core.detectors.vim import ViM
from gsc_core.detectors.vra import VRA
from gsc_core.evaluation.selection import loss

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

    def learn(self, id_scores: Columns, surrogates: SurrogateScores | None) -> None:
        """Learn the ranks from scores of calibration images `[N]`; surrogates' are not needed."""
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
    needs, fitted_with = _union(parts)
    content = {"name": names, "title": names, "about": about, "parts": tuple(parts)}
    return type(names, (Ensemble,), {**content, "needs": needs, "fitted_with": fitted_with})


PANEL = (Energy, MSP, GEN, ReAct, VRA, SCALE, KNN, NNGuide, ViM, FDBD, NCI, Mahalanobis)
"""Who may be the partner of `gsc-auto`: cheap, and of different kinds."""


@dataclass(eq=False)
class AutoEnsemble(Ensemble):
    """`gsc-auto` with the one of the panel beside which it tells surrogate outliers best."""

    partner: str = knob(
        AUTO,
        "gsc-auto's partner; auto: the best on surrogate images",
        choices=(AUTO, *(part.name for part in PANEL)),
    )

    name: ClassVar[str] = "auto-ensemble"
    title: ClassVar[str] = "Gradient Short-Circuit with a partner"
    about: ClassVar[str] = (
        "Mean rank of gsc-auto and the established detector with which it best separates "
        "surrogate images from familiar images; the candidates are scored as well."
    )
    parts: ClassVar[tuple[type[Detector], ...]] = (AutoGSC, *PANEL)
    needs: ClassVar[Need]
    fitted_with: ClassVar[Fit]

    losses_: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def required(self) -> tuple[type[Detector], ...]:
        """`gsc-auto` and the partner, or the whole panel while that is open."""
        if self.partner == AUTO:
            return self.parts
        return AutoGSC, next(part for part in PANEL if part.name == self.partner)

    def join(self, detectors: Iterable[Detector]) -> None:
        """As in `Ensemble`; while the partner is open, one of the panel is enough."""
        by_name = {detector.name: detector for detector in detectors}
        if self.partner != AUTO:
            super().join(by_name.values())
            return
        if AutoGSC.name not in by_name or not any(part.name in by_name for part in PANEL):
            raise Excused("needs gsc-auto and a partner for it, and they cannot run here")
        self.parts_ = tuple(by_name[part.name] for part in self.parts if part.name in by_name)

    def learn(self, id_scores: Columns, surrogates: SurrogateScores | None) -> None:
        """Choose the partner where that is open, and learn the ranks."""
        if self.partner == AUTO:
            if surrogates is None:
                raise Excused("needs surrogate images to choose a partner on")
            super().learn(id_scores, surrogates)
            self.losses_ = {
                part.name: self._loss(part.name, id_scores, surrogates)
                for part in self.parts_
                if part.name != AutoGSC.name
            }
            pair = AutoGSC.name, min(self.losses_, key=self.losses_.__getitem__)
            self.parts_ = tuple(part for part in self.parts_ if part.name in pair)
        super().learn(id_scores, surrogates)

    def _loss(self, partner: str, id_scores: Columns, surrogates: SurrogateScores) -> float:
        """How badly `gsc-auto` and this partner together tell surrogate outliers."""
        of_auto, of_partner = self.ranks_[AutoGSC.name], self.ranks_[partner]
        id_ranks, surrogate_ranks = (
            rank(of_auto, columns[AutoGSC.name]) + rank(of_partner, columns[partner])
            for columns in (id_scores, surrogates.columns)
        )
        # sums that are equal tie in float32
        return loss(by_kind(id_ranks.float(), surrogate_ranks.float(), surrogates.kinds))

    def frozen(self) -> dict[str, Any]:
        """The settings with which another one has the same partner."""
        return {"partner": self.parts_[1].name}


def _union(parts: Sequence[type[Detector]]) -> tuple[Need, Fit]:
    needs, fitted_with = Need.LOGITS, Fit.NOTHING
    for part in parts:
        needs, fitted_with = needs | part.needs, fitted_with | part.fitted_with
    return needs, fitted_with


AutoEnsemble.needs, AutoEnsemble.fitted_with = _union(AutoEnsemble.parts)
AutoEnsemble.fitted_with &= ~Fit.LABELS  # without labels, who needs them is no candidate


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
