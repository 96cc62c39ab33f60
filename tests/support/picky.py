"""A detector that fails on some images, fitted in whatever process asks: for tests of engines."""

from dataclasses import dataclass

from small_audit import MEAN, STD
from small_classifier import world
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.detectors.base import Representation, knob
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
