"""pytorch-ood's detectors, run as that library runs them, with its own defaults.

Detectors that read logits, features or feature maps get those of the shared pass through the
library's `fit_…` and `predict_…` methods; the others get the torch module and the images. Where a
setting has no default, the paper's is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch_ood import detector as ood
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.quality.fusion_parts import Floats
from benchmarks.quality.onepass import Division
from benchmarks.quality.ours import Bench
from benchmarks.quality.subjects import Subject
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Representation
from gsc_core.scoring.scorer import NOT_A_NUMBER

MAX_BYTES = 8e9
EVERY_CLASS = "calibration images of every class"
ODIN_PASSES, FULL_GRADIENT, LAST_GRADIENT = 3.4, 3.5, 1.0  # beyond the shared pass


@dataclass(frozen=True)
class Given:
    """What a library detector is made from: the network cut at our split, and its last layer."""

    subject: Subject
    network: Network
    linear: nn.Linear

    @classmethod
    def of(cls, bench: Bench) -> Given:
        """A linear layer of the module's own parameters: in an exported one it is no `Linear`."""
        module, last = bench.subject.module, bench.subject.last
        weight = module.get_parameter(last)
        layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        layer.weight = weight
        layer.bias = module.get_parameter(last.removesuffix("weight") + "bias")
        return cls(bench.subject, bench.network, layer)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.linear.out_features

    @property
    def dimensions(self) -> int:
        """Length of the feature before the last layer."""
        return self.linear.in_features

    def of_pooled(self, maps: Tensor) -> Tensor:
        """The head on pooled features `[B,D,1,1]`, where every shaping paper works."""
        logits: Tensor = self.linear(maps.flatten(1))
        return logits


@dataclass(frozen=True)
class Reading:
    """What a library detector reads of the shared pass, and by which of its methods."""

    fit: str
    predict: str
    of: Callable[[Representation], Tensor]


def _features(batch: Representation) -> Tensor:
    assert batch.features is not None
    return batch.features


def _pooled(batch: Representation) -> Tensor:
    return _features(batch)[:, :, None, None]


def _maps(batch: Representation) -> Tensor:
    assert batch.feature_map is not None
    return batch.feature_map.contiguous()


LOGITS = Reading("fit_logits", "predict_logits", lambda batch: batch.logits)
FEATURES = Reading("fit_features", "predict_features", _features)
POOLED = Reading("fit_feature_maps", "predict_feature_maps", _pooled)
MAPS = Reading("fit_feature_maps", "predict_feature_maps", _maps)


@dataclass(frozen=True)
class Peer:
    """A library detector; `reading` is None when it takes the images and learns nothing.

    size: bytes it would hold at once, given the number of calibration classes. wants: what it takes
    for granted, to be said when it fails without a word.
    """

    name: str
    make: Callable[[Given], Any]
    reading: Reading | None
    passes: float = 0.0
    size: Callable[[Given, int], float] = lambda *_: 0.0
    wants: str = ""


class _GramOnMaps(ood.Gram):  # type: ignore[misc]
    """The library's Gram on the feature map at the split as its only layer."""

    def __init__(self, given: Given) -> None:
        super().__init__(_Head(given.network), [nn.Identity()], given.classes)

    def fit_feature_maps(self, maps: Tensor, labels: Tensor) -> None:
        """Fit through the library's loop."""
        self.fit(DataLoader(TensorDataset(maps, labels), batch_size=64))

    def predict_feature_maps(self, maps: Tensor) -> Tensor:
        """Score through the library's loop."""
        scores: Tensor = self.predict(maps)
        return scores


class _Head(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.head = network.head

    def forward(self, maps: Tensor) -> Tensor:
        return self.head(maps)


def _vim_dimensions(given: Given) -> int:
    """As in the paper."""
    d = given.dimensions
    return 1000 if d >= 2048 else 512 if d >= 768 else d // 2


def _is_last(given: Given) -> Callable[[str], bool]:
    return lambda name: name == given.subject.last


def _covariances(given: Given, classes: int) -> float:
    return 2 * 8.0 * classes * given.dimensions**2  # float64, and a copy when stacked


def _pairs(given: Given, _: int) -> float:
    return 4.0 * given.classes**2 * given.dimensions


PEERS: tuple[Peer, ...] = (
    Peer("MaxSoftmax", lambda _: ood.MaxSoftmax(None), LOGITS),
    Peer("MaxLogit", lambda _: ood.MaxLogit(None), LOGITS),
    Peer("EnergyBased", lambda _: ood.EnergyBased(None), LOGITS),
    Peer("Entropy", lambda _: ood.Entropy(None), LOGITS),
    Peer("GEN", lambda _: ood.GEN(None), LOGITS),
    Peer("KLMatching", lambda _: ood.KLMatching(None), LOGITS),
    Peer("TemperatureScaling", lambda _: ood.TemperatureScaling(None), LOGITS),
    Peer("ReAct", lambda g: ood.ReAct(None, g.of_pooled), POOLED),
    Peer("VRA", lambda g: ood.VRA(None, g.of_pooled), POOLED),
    Peer("ASH", lambda g: ood.ASH(None, g.of_pooled), POOLED),
    Peer("SCALE", lambda g: ood.SCALE(None, g.of_pooled), POOLED),
    Peer("LTS", lambda g: ood.LTS(None, g.linear), FEATURES),
    Peer("DICE (p 0.7)", lambda g: ood.DICE(None, g.linear.weight, g.linear.bias, 0.7), FEATURES),
    Peer("KNN", lambda _: ood.KNN(None), FEATURES),
    Peer("NNGuide", lambda g: ood.NNGuide(None, g.linear), FEATURES),
    Peer(
        "ViM (paper's d)",
        lambda g: ood.ViM(None, _vim_dimensions(g), g.linear.weight, g.linear.bias),
        FEATURES,
    ),
    Peer("fDBD", lambda g: ood.fDBD(None, g.linear), FEATURES, size=_pairs),
    Peer("NCI", lambda g: ood.NCI(None, g.linear), FEATURES),
    Peer("pNML", lambda g: ood.PNML(None, g.linear), FEATURES),
    Peer("Mahalanobis", lambda _: ood.Mahalanobis(None), FEATURES, wants=EVERY_CLASS),
    Peer("RMD", lambda _: ood.RMD(None), FEATURES, wants=EVERY_CLASS),
    Peer("SHE", lambda g: ood.SHE(None, g.linear), FEATURES, wants=EVERY_CLASS),
    Peer("GMM", lambda _: ood.GMM(None), FEATURES, size=_covariances),
    Peer("RankFeat", lambda g: ood.RankFeat(None, g.network.head), MAPS),
    Peer("Gram", _GramOnMaps, MAPS),
    Peer("ODIN", lambda g: ood.ODIN(g.subject.module), None, ODIN_PASSES),
    Peer("GradNorm (all layers)", lambda g: ood.GradNorm(g.subject.module), None, FULL_GRADIENT),
    Peer(
        "GradNorm (last layer)",
        lambda g: ood.GradNorm(g.subject.module, param_filter=_is_last(g)),
        None,
        LAST_GRADIENT,
    ),
)


class CannotRun(Exception):  # noqa: N818 - an answer more than an error
    """Why a library detector has no scores here."""


def on_pixels(bench: Bench) -> tuple[dict[str, Floats], dict[str, str]]:
    """Scores of all images by the detectors that take images, and why some have none."""
    given = Given.of(bench)
    normalise = bench.subject.classifier.preprocessing.normalise
    scores: dict[str, Floats] = {}
    absent: dict[str, str] = {}
    for peer in (each for each in PEERS if each.reading is None):
        try:
            detector = peer.make(given)
            batches = map(normalise, bench.in_turn(f"pytorch-ood {peer.name}"))
            scores[peer.name] = _numbers(detector.predict(images) for images in batches)
        except Exception as error:  # a library may raise anything; the row says so
            absent[peer.name] = _reason(error, peer.wants)
    return scores, absent


def on_division(
    bench: Bench, division: Division
) -> tuple[dict[str, Mapping[str, Floats]], dict[str, str]]:
    """Scores by detector and set of those that read the shared pass, and why some have none."""
    given, scorer = Given.of(bench), bench.scorer([])
    calibration = scorer.represent(bench.shown.pixels[division.calibration_rows])
    passed = {
        name: [scorer.represent(pixels) for pixels in bench.shown.batches(rows)]
        for name, rows in division.test.items()
    }
    scores: dict[str, Mapping[str, Floats]] = {}
    absent: dict[str, str] = {}
    for at, peer in enumerate(PEERS):
        bench.pace.step(f"pytorch-ood, split {division.seed}", at, len(PEERS))
        if peer.reading is None:
            continue
        try:
            detector = _fitted(peer, peer.reading, given, calibration, division.labels)
            predict = getattr(detector, peer.reading.predict)
            scores[peer.name] = {
                name: _numbers(predict(peer.reading.of(batch)) for batch in batches)
                for name, batches in passed.items()
            }
        except Exception as error:  # a library may raise anything; the row says so
            absent[peer.name] = _reason(error, peer.wants)
    return scores, absent


def _fitted(
    peer: Peer, reading: Reading, given: Given, calibration: Representation, labels: Tensor
) -> Any:
    needed = peer.size(given, len(torch.unique(labels)))
    if needed > MAX_BYTES:
        raise CannotRun(f"would hold {needed / 1e9:.0f} GB at once")
    detector = peer.make(given)
    if detector.requires_fit:
        getattr(detector, reading.fit)(reading.of(calibration), labels)
    return detector


def _numbers(parts: Iterator[Tensor]) -> Floats:
    """Scores of consecutive batches; raises CannotRun when one is not finite."""
    scores: Floats = torch.cat([part.detach().double().cpu() for part in parts]).numpy()
    if not np.isfinite(scores).all():
        raise CannotRun(NOT_A_NUMBER)
    return scores


def _reason(error: Exception, wants: str) -> str:
    if isinstance(error, CannotRun):
        return str(error)
    said = next(iter(str(error).strip().splitlines()), "")[:160]
    if wants and not said:
        said = f"it wants {wants}"
    return f"raised {type(error).__name__}" + (f": {said}" if said else "")
