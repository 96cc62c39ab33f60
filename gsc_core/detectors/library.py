"""Detectors bound from pytorch-ood that read the logits alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import torch
from pytorch_ood import detector as ood
from torch import Tensor

from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Excused,
    Fit,
    Paper,
    Representation,
    knob,
)

LEAST_IMAGES = 10
"""Means and percentiles of fewer calibration images are chance."""

_MISSING_CLASSES = 0.05  # what a threshold that keeps 95 % of ID images can bear


def published(library: type) -> Paper | None:
    """Where the method of a pytorch-ood class was published, if that library names a paper."""
    paper = library.info.paper  # type: ignore[attr-defined]
    return None if paper is None else Paper(paper.title, paper.venue, paper.year, paper.url)


def settled(bound: Any, device: torch.device) -> Any:
    """A fitted detector of the library, with all its tensors on `device`.

    Some fits go through NumPy and leave them on the CPU; the library then sends there what it is
    asked to score, whatever device the network is on.
    """
    return bound.to(device)


@dataclass(eq=False)
class MaxLogit(Detector):
    """`−max y`."""

    name = "maxlogit"
    title = "Max logit"
    about = "The largest logit: a low one means that no class is recognised."
    paper = published(ood.MaxLogit)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return _scores(ood.MaxLogit.score(batch.logits))


@dataclass(eq=False)
class Energy(Detector):
    """`−T log Σ exp(y / T)`."""

    temperature: float = knob(1.0, "divides the logits", low=0.01, high=1000)

    name = "energy"
    title = "Energy"
    about = "All logits together, by their log-sum-exp: low when no class is recognised."
    paper = published(ood.EnergyBased)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return _scores(ood.EnergyBased.score(batch.logits, t=self.temperature))


@dataclass(eq=False)
class Entropy(Detector):
    """`−Σ p log p` of the softmax `p`."""

    name = "entropy"
    title = "Entropy"
    about = "How evenly the softmax probability is spread over the classes."
    paper = published(ood.Entropy)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return _scores(ood.Entropy.score(batch.logits))


@dataclass(eq=False)
class GEN(Detector):
    """Generalised entropy: the mean of `p^γ (1−p)^γ` over the most probable classes.

    γ = 0.1 and 100 classes are the paper's choice for ImageNet.
    """

    gamma: float = knob(0.1, "smaller = more weight on small probabilities", low=0.01, high=10)
    top: int = knob(100, "how many of the most probable classes count", low=2)

    name = "gen"
    title = "GEN"
    about = "A generalised entropy of the most probable classes, sensitive to small doubts."
    paper = published(ood.GEN)

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        return _scores(ood.GEN.score(batch.logits, gamma=self.gamma, M=self.top))


@dataclass(eq=False)
class KLMatching(Detector):
    """Least KL divergence of the softmax to a typical softmax of any predicted class.

    Labels are not read. A class that is never predicted on the calibration images has no typical
    softmax, and its images look strange: few such classes are borne.
    """

    name = "klmatching"
    title = "KL matching"
    about = "How far the probabilities are from the typical probabilities of the nearest class."
    paper = published(ood.KLMatching)
    fitted_with = Fit.IMAGES

    bound_: Any = field(default=None, init=False, repr=False)

    def fit(self, calibration: Calibration) -> Self:
        """Learn the mean softmax of each predicted class."""
        calibration.require_images(LEAST_IMAGES)
        classes = calibration.logits.shape[1]
        predicted = calibration.logits.argmax(dim=1).bincount(minlength=classes)
        never = int((predicted == 0).sum())
        if never > _MISSING_CLASSES * classes:
            raise Excused(
                f"needs calibration images of nearly every class; {never} of {classes} classes are "
                "never predicted on them"
            )
        bound = ood.KLMatching(None).fit_logits(calibration.logits)
        self.bound_ = settled(bound, calibration.network.device)
        return self

    def score(self, batch: Representation) -> Tensor:
        """Outlier scores `[B]`; higher = more likely OOD."""
        assert self.bound_ is not None, "fit() comes first"
        return _scores(self.bound_.predict_logits(batch.logits))


def _scores(scores: Any) -> Tensor:
    """The library's scores without the graph that some of them carry."""
    detached: Tensor = scores.detach()
    return detached
