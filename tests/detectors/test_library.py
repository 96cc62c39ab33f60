"""Each binding gives from one pass what pytorch-ood gives when it runs the network itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pytorch_ood import detector as ood
from small_classifier import CLASSES, DIMENSIONS, Small, World, with_linear, world
from torch import Tensor

from gsc_core.detectors.catalogue import find
from gsc_core.errors import Excused


@pytest.fixture(scope="module")
def small() -> World:
    return world()


def maps(model: Small) -> Callable[[Tensor], Tensor]:
    """The images to pooled features, as a map of one position."""
    return lambda x: model.pooled(x)[:, :, None, None]


def head(model: Small) -> Callable[[Tensor], Tensor]:
    return lambda x: model.fc(x.flatten(1))


LIBRARY: dict[str, Callable[[Small], Any]] = {
    "maxlogit": ood.MaxLogit,
    "energy": ood.EnergyBased,
    "energy:temperature=2": lambda m: ood.EnergyBased(m, t=2.0),
    "entropy": ood.Entropy,
    "gen": lambda m: ood.GEN(m, gamma=0.1, M=100),
    "gen:gamma=0.5:top=2": lambda m: ood.GEN(m, gamma=0.5, M=2),
    "klmatching": ood.KLMatching,
    "react": lambda m: ood.ReAct(maps(m), head(m), percentile=0.95),
    "react:percentile=0.8": lambda m: ood.ReAct(maps(m), head(m), percentile=0.8),
    "vra": lambda m: ood.VRA(maps(m), head(m)),
    "vra:lower=0.2:upper=0.7": lambda m: ood.VRA(maps(m), head(m), 0.2, 0.7),
    "ash": lambda m: ood.ASH(maps(m), head(m), "ash-s", 0.9),
    "ash:variant=ash-b:percentile=0.5": lambda m: ood.ASH(maps(m), head(m), "ash-b", 0.5),
    "ash:variant=ash-p:percentile=0.5": lambda m: ood.ASH(maps(m), head(m), "ash-p", 0.5),
    "scale": lambda m: ood.SCALE(maps(m), head(m), 0.85),
    "knn": lambda m: ood.KNN(m.pooled, k=10),
    "knn:k=1": lambda m: ood.KNN(m.pooled, k=1),
    "nnguide": lambda m: ood.NNGuide(m.pooled, m.fc, k=10),
    "nnguide:k=3": lambda m: ood.NNGuide(m.pooled, m.fc, k=3),
    "vim:d=2": lambda m: ood.ViM(m.pooled, 2, m.fc.weight, m.fc.bias),
    "vim:d=3": lambda m: ood.ViM(m.pooled, 3, m.fc.weight, m.fc.bias),
    "she": lambda m: ood.SHE(m.pooled, m.fc),
    "nci": lambda m: ood.NCI(m.pooled, m.fc),
    "nci:alpha=0.01": lambda m: ood.NCI(m.pooled, m.fc, alpha=0.01),
    "gmm": lambda m: ood.GMM(m.pooled),
    "gmm:reg=0.1": lambda m: ood.GMM(m.pooled, reg=0.1),
}


@pytest.mark.parametrize("text", LIBRARY)
def test_equals_the_library_run_on_the_images(text: str, small: World) -> None:
    name, *settings = text.split(":")
    values = dict(setting.split("=") for setting in settings)
    ours = find(name).configured(values).fit(small.calibration)
    theirs = LIBRARY[text](small.model).fit(small.loader)
    for batch in (small.known, small.strange):
        assert batch.images is not None
        with torch.no_grad():
            expected = theirs.predict(batch.images)
        torch.testing.assert_close(
            ours.score(batch), expected, rtol=1e-3, atol=1e-4, check_dtype=False
        )


def test_she_counts_the_classes_without_a_correct_image(small: World) -> None:
    keep = small.labels > 1
    labels = torch.where(keep, small.labels, -1)
    with pytest.raises(Excused, match=f"2 of {CLASSES} classes"):
        find("she")().fit(replace(small.calibration, labels=labels))
    wrong = (small.labels + 1) % CLASSES
    with pytest.raises(Excused, match=f"{CLASSES} of {CLASSES} classes"):
        find("she")().fit(replace(small.calibration, labels=wrong))


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("knn", {"k": 241}, "at least 241 .* there are 240"),
        ("nnguide", {"k": 241}, "at least 241 .* there are 240"),
        ("vim", {"d": DIMENSIONS}, f"{DIMENSIONS} dimensions"),
        ("vim", {"d": 240}, "at least 241 .* there are 240"),
    ],
)
def test_what_these_images_do_not_allow_is_said(
    name: str, settings: dict[str, Any], said: str, small: World
) -> None:
    with pytest.raises(Excused, match=said):
        find(name).configured(settings).fit(small.calibration)


def test_gmm_wants_more_images_of_each_class_than_dimensions(small: World) -> None:
    labels = torch.where(torch.arange(240) < 4 * DIMENSIONS, small.labels, -1)
    with pytest.raises(Excused, match=rf"at least {DIMENSIONS + 1} .* has {DIMENSIONS}"):
        find("gmm")().fit(replace(small.calibration, labels=labels))


def test_klmatching_wants_nearly_every_class(small: World) -> None:
    one_class = small.calibration.logits.clone()
    one_class[:, 0] += 1000
    with pytest.raises(Excused, match=f"{CLASSES - 1} of {CLASSES} classes"):
        find("klmatching")().fit(replace(small.calibration, logits=one_class))


def test_vim_excuses_itself_where_the_logits_give_no_scale(small: World) -> None:
    """The library turns its sign when the largest logits are negative on average."""
    low = replace(small.calibration.linear, bias=small.calibration.linear.bias - 1000)
    with pytest.raises(Excused, match="not positive"):
        find("vim")().fit(with_linear(small.calibration, low))


def test_nci_of_a_feature_at_the_mean_is_finite(small: World) -> None:
    """The library divides zero by zero there."""
    detector = find("nci").configured({"alpha": 0.5}).fit(small.calibration)
    assert small.calibration.features is not None
    mean = small.calibration.features.mean(dim=0, keepdim=True)
    batch = replace(small.known[:1], features=mean)
    torch.testing.assert_close(detector.score(batch), -0.5 * mean.abs().sum(dim=1))
