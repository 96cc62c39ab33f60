"""`auto-ensemble`: a weighted mean of detectors of every family.

Two detectors of one family mostly err on the same images, those of two families seldom do. Which
of them can be trusted depends on the network, and surrogate outliers show it well enough for
weights (`fusion`), though not for a single choice. Unlike ranks, which saturate, weighted scores
still tell two images apart that are both beyond all familiar ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gsc_core.classifier.float64 import double
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Detector, Excused, Fit, Need, knob
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.ensemble import Columns, Ensemble, SurrogateScores, union_of
from gsc_core.detectors.facts import AUTO, Family
from gsc_core.detectors.fdbd import FDBD
from gsc_core.detectors.fusion import Fusion, as_shares
from gsc_core.detectors.gen import GEN
from gsc_core.detectors.knn import KNN
from gsc_core.detectors.layers import Layers
from gsc_core.detectors.library import LEAST_IMAGES
from gsc_core.detectors.mahalanobis import Mahalanobis
from gsc_core.detectors.msp import MSP
from gsc_core.detectors.nci import NCI
from gsc_core.detectors.nnguide import NNGuide
from gsc_core.detectors.react import ReAct
from gsc_core.detectors.scale import SCALE
from gsc_core.detectors.vim import ViM
from gsc_core.detectors.vra import VRA
from gsc_core.errors import SpecError

MEMBERS = (Layers, ReAct, SCALE, GEN, Energy, FDBD, NCI, KNN, ViM, Mahalanobis)
"""What is fused with `gsc-auto`: of each family one or two, all cheap."""

PANEL = (Energy, MSP, GEN, ReAct, VRA, SCALE, KNN, NNGuide, ViM, FDBD, NCI, Mahalanobis)
"""Who could be the one partner of `gsc-auto` in earlier versions."""


@dataclass(eq=False)
class AutoEnsemble(Ensemble):
    """`gsc-auto` and detectors of every family, weighted by what surrogate outliers show.

    Scores are a weighted mean of the parts' scores, each in spreads of the calibration images
    above their middle; higher = more likely OOD. A part that surrogates call useless weighs
    nothing. With a `partner` it is what it was in earlier versions: the mean rank of two.
    """

    partner: str = knob(
        AUTO,
        "one detector beside gsc-auto, by mean rank, as in earlier versions; auto: all, weighted",
        choices=(AUTO, *(part.name for part in PANEL)),
    )
    weights: str = knob(
        AUTO, "how much each part counts, as gsc-auto=0.4/knn=0.6; auto: learned from surrogates"
    )

    name: ClassVar[str] = "auto-ensemble"
    title: ClassVar[str] = "Everything that helps, weighted"
    about: ClassVar[str] = (
        "A weighted mean of gsc-auto, the layer profile and established detectors of every family, "
        "with weights learned from surrogate images made from familiar images; recommended."
    )
    family: ClassVar[Family] = Family.FUSION
    parts: ClassVar[tuple[type[Detector], ...]] = (AutoGSC, *MEMBERS)
    needs: ClassVar[Need]
    fitted_with: ClassVar[Fit]

    fusion_: Fusion | None = field(default=None, init=False, repr=False)
    useless_: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises SpecError for weights that are none, or are given beside a partner."""
        if self.weights != AUTO:
            if self.partner != AUTO:
                raise SpecError(f"{self.name} takes a partner or weights: give one of the two.")
            self._given()

    def required(self) -> tuple[type[Detector], ...]:
        """The detectors that must be scored beside it."""
        if self.partner != AUTO:
            return AutoGSC, next(part for part in PANEL if part.name == self.partner)
        if self.weights != AUTO:
            given = self._given()
            return tuple(part for part in self.parts if part.name in given)
        return self.parts

    def join(self, detectors: Iterable[Detector]) -> None:
        """As in `Ensemble`; while the weights are open, two of the parts are enough."""
        by_name = {detector.name: detector for detector in detectors}
        if self.partner != AUTO or self.weights != AUTO:
            super().join(by_name.values())
            return
        self.parts_ = tuple(by_name[part.name] for part in self.parts if part.name in by_name)
        if len(self.parts_) < 2:
            raise Excused("needs at least two of its parts, and fewer can run here")

    def learn(
        self,
        id_scores: Columns,
        surrogates: SurrogateScores | None,
        tuned_on: Tensor | None = None,
    ) -> None:
        """Learn each part's scale, and its weight where that is open."""
        if self.partner != AUTO:
            super().learn(id_scores, surrogates, tuned_on)
            return
        columns = self._columns(id_scores)
        if len(columns) < LEAST_IMAGES:
            raise Excused(
                f"needs at least {LEAST_IMAGES} calibration images to know how its parts' scores "
                f"spread; there are {len(columns)}"
            )
        others = None if surrogates is None else self._columns(surrogates.columns)
        if self.weights != AUTO:
            given = self._given()
            fusion = Fusion.of(columns, None)
            weights = fusion.weights.new_tensor([given[part.name] for part in self.parts_])
            fusion = replace(fusion, weights=weights, learned=True)
            if tuned_on is not None:
                self.held_out_ = fusion.without(columns, others, tuned_on)
            self._keep(fusion)
            return
        self.held_out_ = Fusion.held_out(columns, others)
        self._keep(Fusion.of(columns, others))

    def combine(self, columns: Columns) -> Tensor:
        """Scores `[B]` from those of the parts, `[B]` each."""
        if self.partner != AUTO:
            return super().combine(columns)
        assert self.fusion_ is not None, "learn() comes first"
        return self.fusion_(self._columns(columns))

    def frozen(self) -> dict[str, Any]:
        """The settings with which another one weighs the same parts alike."""
        if self.partner != AUTO:
            return self.settings()
        assert self.fusion_ is not None, "learn() comes first"
        pairs = zip(self.parts_, self.fusion_.weights.tolist(), strict=True)
        return {"partner": AUTO, "weights": "/".join(f"{part.name}={w!r}" for part, w in pairs)}

    def _keep(self, fusion: Fusion) -> None:
        """Go on with the parts that count alone: nobody need score the others again."""
        counts = fusion.weights > 0
        pairs = list(zip(self.parts_, counts.tolist(), strict=True))
        self.useless_ = tuple(part.name for part, does in pairs if not does)
        self.parts_ = tuple(part for part, does in pairs if does)
        self.fusion_ = fusion.only(counts)

    def _columns(self, columns: Columns) -> Tensor:
        """`[B,J]` of the parts, in float32 as an audit keeps them."""
        scores = [columns[part.name].float() for part in self.parts_]
        return double(torch.stack(scores, dim=1))

    def _given(self) -> dict[str, float]:
        """The weights that were set, with the sum 1; raises SpecError where they are none."""
        given: dict[str, float] = {}
        names = [part.name for part in self.parts]
        for item in self.weights.split("/"):
            name, _, number = (text.strip() for text in item.partition("="))
            try:
                given[name] = float(number)
            except ValueError:
                given[name] = math.nan
        total = sum(given.values())
        usable = all(w >= 0 and math.isfinite(w) for w in given.values()) and total > 0
        if not usable or not given.keys() <= set(names):
            raise SpecError(
                f"weights={self.weights!r} must give numbers from 0 to some of {', '.join(names)}, "
                "such as gsc-auto=0.4/knn=0.6."
            )
        return dict(zip(given, as_shares(list(given.values())), strict=True))


AutoEnsemble.needs, AutoEnsemble.fitted_with = union_of(AutoEnsemble.parts)
AutoEnsemble.fitted_with &= ~Fit.LABELS  # without labels, who needs them is left out
