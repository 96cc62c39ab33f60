"""Every detector on transformers: it runs, or says in numbers why not."""

import re
from functools import cache
from typing import Any

import pytest
import timm
import torch
from small_classifier import EVERYTHING, calibrate

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Detector
from gsc_core.detectors.catalogue import CATALOGUE
from gsc_core.errors import Excused
from gsc_core.scoring.onepass import represent

pytestmark = pytest.mark.slow

# As wide as they are, and less deep, which costs a third.
SHALLOW: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"depth": 3},
    "swinv2_tiny_window8_256": {"depths": (1, 1, 2, 1)},
}
SIDE, CLASSES, IMAGES = 64, 5, 48


@cache
def calibration(name: str) -> Calibration:
    """On random images, by random weights; the head's are spread so that all classes come up."""
    torch.manual_seed(0)
    module = timm.create_model(name, img_size=SIDE, num_classes=CLASSES, **SHALLOW[name]).eval()
    preprocessing = Preprocessing.parse(f"resize={SIDE},crop={SIDE},mean=0.5,std=0.5")
    images = torch.randn(IMAGES, 3, SIDE, SIDE)
    with torch.no_grad():
        head = module.get_classifier()
        features = module.forward_head(module.forward_features(images), pre_logits=True)
        spread = features - features.mean(dim=0)
        head.weight.copy_(torch.linalg.svd(spread, full_matrices=False).Vh[:CLASSES])
        head.weight.mul_(20 / (spread @ head.weight.T).std())
        head.bias.copy_(-(features.mean(dim=0) @ head.weight.T))
    network = Network(classifier_from_module(module, preprocessing).program)
    return calibrate(network, images, torch.full((IMAGES,), -1))


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("detector", CATALOGUE, ids=lambda d: d.name)
def test_it_runs_or_says_in_numbers_why_not(detector: type[Detector], name: str) -> None:
    known = calibration(name)
    assert known.features is not None and float(known.features.min()) < 0
    try:
        fitted = detector().fit(known)
    except Excused as reason:
        assert re.search(r"\d|label", str(reason)), reason
        return
    generator = torch.Generator().manual_seed(1)
    images = 0.3 * torch.randn(6, 3, SIDE, SIDE, generator=generator)
    scores = fitted.score(represent(known.network, images, EVERYTHING))
    assert scores.shape == (6,) and bool(scores.isfinite().all())
    assert len(scores.unique()) > 1


@pytest.mark.parametrize("name", SHALLOW)
def test_those_of_features_alone_are_not_excused(name: str) -> None:
    """Features of both signs, as norms and GELU leave them, are none of their concern."""
    for detector in CATALOGUE:
        if detector.name in ("optfs", "ras", "neco", "cadref", "lts", "actsub", "adascale"):
            detector().fit(calibration(name))
        if detector.name in ("mahalanobis", "rmd", "gsc-energy"):
            detector().fit(calibration(name))
