"""Detectors that fail on some images: for tests of engines, audits and ensembles."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from small_audit import MEAN, STD
from small_classifier import world
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.detectors.base import Detector, Need, Representation, knob
from gsc_core.detectors.energy import Energy
from gsc_core.scoring.scorer import Scorer


@dataclass(eq=False)
class Picky(Energy):
    """Energy that fails on images of a higher logit than this."""

    limit: float = knob(1e9, "the highest logit it stands", low=-1e9, high=1e9)
    name = "picky"

    def score(self, batch: Representation) -> Tensor:
        if batch.logits.max() > self.limit:
            raise ValueError("too high")
        return super().score(batch)


@dataclass(frozen=True)
class PickyRecipe:
    """Makes the small classifier's scorer with energy and `Picky`."""

    limit: float
    prepares: type[Preprocessing] = Preprocessing

    def __call__(self) -> Scorer:
        small = world()
        preprocessing = self.prepares(resize=12, crop=12, mean=(MEAN,) * 3, std=(STD,) * 3)
        scorer = Scorer(small.network, preprocessing, [Energy(), Picky(limit=self.limit)])
        scorer.fit(scorer.detectors, small.calibration)
        return scorer


class SnowBlind(Detector):
    """Gives no number for a white image."""

    name: ClassVar[str] = "snow-blind"
    title: ClassVar[str] = "Snow-blind"
    about: ClassVar[str] = "Fails on white images."
    needs: ClassVar[Need] = Need.IMAGES

    def score(self, batch: Representation) -> Tensor:
        assert batch.images is not None
        darkest = batch.images.amin(dim=(1, 2, 3))
        return torch.where(darkest < 2, darkest, torch.nan)
