"""Logit scaling: the logits grow by how much of the feature's sum its strongest values hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import Calibration, Detector, Need, Representation, knob
from gsc_core.detectors.facts import Family
from gsc_core.detectors.library import detached, published


@dataclass(eq=False)
class LTS(Detector):
    """Energy of the logits, scaled by the square of all positive features over the strongest.

    The library divides 0 by 0 where no feature is positive; such an image has logits of 0.
    """

    p: float = knob(0.05, "share of the features that count as strong", low=0.001, high=1.0)

    name = "lts"
    title = "LTS"
    about = "Scales the logits by how little the strongest features stand out from the rest."
    family = Family.SHAPING
    fails_on = "transformers"
    paper = published(ood.LTS)
    needs = Need.LOGITS | Need.FEATURES

    bound_: Any = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Take the last linear map; nothing is learned."""
        self.bound_ = ood.LTS(None, calibration.linear, p=self.p, detector=_energy)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.bound_ is not None, "fit() comes first"
        assert batch.features is not None
        return detached(self.bound_.predict_features(batch.features))


def _energy(logits: Tensor) -> Tensor:
    scores: Tensor = ood.EnergyBased.score(logits.nan_to_num(nan=0.0))
    return scores
