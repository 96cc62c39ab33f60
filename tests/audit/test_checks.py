"""What is checked about a model: each fault in a network made for it, and no false alarms."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gsc_core.audit.checks.base import Evidence
from gsc_core.audit.checks.inputs import inputs, normalisation
from gsc_core.audit.checks.predictions import confidence, logits, one_class
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import Classifier, classifier_from_module
from gsc_core.classifier.network import Network
from gsc_core.images import ImageFile
from gsc_core.workspace.model_check import examine

SIDE = 32
IMAGENET = Preprocessing(resize=SIDE, crop=SIDE)
HALF = Preprocessing(resize=SIDE, crop=SIDE, mean=0.5, std=0.5)
UNIT = Preprocessing(resize=SIDE, crop=SIDE, mean=0, std=1)
BYTES = Preprocessing(resize=SIDE, crop=SIDE, mean=0, std=1 / 255)


class Normed(nn.Module):
    """A convolution and a batch norm, as most networks begin; `before` is done to the images."""

    def __init__(self, channels: int = 3, before: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = before
        self.conv = nn.Conv2d(channels, 16, 3, bias=False)
        self.bn = nn.BatchNorm2d(16, momentum=None)  # None: the mean of all batches
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else self.before(x)
        return self.fc(self.bn(self.conv(x)).relu().mean(dim=(2, 3)))


def trained(module: Normed, images: Sequence[Path], as_: Preprocessing) -> Normed:
    """Its batch norm remembers these images."""
    module.train()
    with torch.no_grad():
        module(torch.cat([read(path, as_) for path in images]))
    return module.eval()


def read(path: Path, preprocessing: Preprocessing) -> Tensor:
    pixels = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)
    return preprocessing.normalise(preprocessing.resize_crop(pixels)[None])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images with the mean, the spread and the smoothness of photographs; none is one."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    paths = []
    for at in range(80):
        coarse = random.normal(0, 1, (5, 6, 1)) + 0.5 * random.normal(0, 1, (5, 6, 3))
        fine = random.normal(0, 0.3, (20, 24, 3))
        light = random.normal(0, 0.4)
        big, small = (upscaled(layer, 48, 40) for layer in (coarse, fine))
        levels = 0.45 + 0.2 * (big + small + light) / 1.2
        paths.append(folder / f"{at:03}.png")
        Image.fromarray((255 * levels.clip(0, 1)).astype(np.uint8)).save(paths[-1])
    return paths


def upscaled(layer: np.ndarray, width: int, height: int) -> np.ndarray:
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(layer).permute(2, 0, 1)[None], (height, width), mode="bicubic"
    )
    return smooth[0].permute(1, 2, 0).numpy()


def said(module: nn.Module, images: Sequence[Path], given: Preprocessing) -> tuple[str, str]:
    found = normalisation(classifier_from_module(module, given), images)
    assert found is not None
    return found.outcome, found.sentence


# --- normalisation -----------------------------------------------------------------------------


@pytest.mark.parametrize("right", [IMAGENET, HALF, UNIT, BYTES], ids=["in", "half", "unit", "255"])
def test_the_right_normalisation_is_fine(right: Preprocessing, photos: list[Path]) -> None:
    module = trained(Normed(), photos[:48], right)
    outcome, sentence = said(module, photos[48:], right)
    assert outcome == "fine"
    assert "the mean and spread that the network was trained on" in sentence


WRONG = [
    (IMAGENET, UNIT, "ImageNet's mean and standard deviation"),
    (IMAGENET, BYTES, "ImageNet's mean and standard deviation"),
    (IMAGENET, HALF, "ImageNet's mean and standard deviation"),
    (HALF, IMAGENET, "values from −1 to 1 (mean=0.5,std=0.5)"),
    (HALF, BYTES, "values from −1 to 1 (mean=0.5,std=0.5)"),
    (UNIT, IMAGENET, "values from 0 to 1 (mean=0,std=1"),
    (UNIT, BYTES, "values from 0 to 1 (mean=0,std=1"),
    (BYTES, IMAGENET, "values from 0 to 255 (mean=0,std=0.00392157)"),
    (BYTES, UNIT, "values from 0 to 255 (mean=0,std=0.00392157)"),
]


@pytest.mark.parametrize(("right", "given", "words"), WRONG)
def test_another_normalisation_is_warned_of_by_name(
    right: Preprocessing, given: Preprocessing, words: str, photos: list[Path]
) -> None:
    module = trained(Normed(), photos[:48], right)
    outcome, sentence = said(module, photos[48:], given)
    assert outcome == "warning"
    assert f"with {words}" in sentence


@pytest.mark.slow
def test_a_network_that_normalises_by_itself_is_normalised_twice(photos: list[Path]) -> None:
    def own(images: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))
        return (images - mean) / std

    module = trained(Normed(before=own), photos[:48], UNIT)
    assert said(module, photos[48:], UNIT)[0] == "fine"
    outcome, sentence = said(module, photos[48:], IMAGENET)
    assert outcome == "warning"
    assert (
        "with values from 0 to 1 (mean=0,std=1; perhaps the network normalises them itself)"
        in sentence
    )


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (lambda x: (x - 0.45) / 0.226, "normalised twice"),
        (lambda x: x / 255, "divided by 255 twice"),
    ],
)
def test_a_mistake_of_the_training_is_recognised(
    before: Callable[[Tensor], Tensor], words: str, photos: list[Path]
) -> None:
    """Images of the training were changed once more; the network is audited without that."""
    given = UNIT if "255" in words else IMAGENET
    module = trained(Normed(before=before), photos[:48], given)
    module.before = None
    outcome, sentence = said(module, photos[48:], given)
    assert outcome == "warning"
    assert words in sentence


@pytest.mark.slow
def test_grey_networks_are_checked_too(photos: list[Path]) -> None:
    right = HALF.for_channels(1)
    module = trained(Normed(channels=1), photos[:48], right)
    assert said(module, photos[48:], HALF)[0] == "fine"
    assert "−1 to 1" in said(module, photos[48:], BYTES)[1]


@pytest.mark.slow
def test_images_of_another_kind_are_no_wrong_normalisation(
    photos: list[Path], tmp_path: Path
) -> None:
    """A fine-tuned network whose batch norms were frozen: darker, flatter images than it knew."""
    module = trained(Normed(), photos[:48], IMAGENET)
    for at, path in enumerate(photos[48:]):
        dark = np.asarray(Image.open(path)) * 0.5
        Image.fromarray(dark.astype(np.uint8)).save(tmp_path / f"{at}.png")
    assert said(module, sorted(tmp_path.iterdir()), IMAGENET)[0] == "fine"


def test_quite_another_scale_is_warned_of_without_a_name(photos: list[Path]) -> None:
    module = trained(Normed(before=lambda x: 7 + x / 33), photos[:48], UNIT)
    module.before = None
    outcome, sentence = said(module, photos[48:], UNIT)
    assert outcome == "warning"
    assert "no usual way to normalise them fits" in sentence


class Late(nn.Module):
    """Its only batch norm sees features."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*[nn.Conv2d(3, 3, 3) for _ in range(3)])
        self.bn = nn.BatchNorm2d(3)
        self.bn.running_mean += 5
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bn(self.body(x)).mean(dim=(2, 3)))


@pytest.mark.slow
def test_nothing_is_said_where_nothing_is_remembered(photos: list[Path]) -> None:
    for module in (Normed(), Late()):  # never trained; far from the images
        assert normalisation(classifier_from_module(module, UNIT), photos) is None


@pytest.mark.slow
def test_files_that_cannot_be_read_are_passed_over(photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    module = trained(Normed(), photos[:48], HALF)
    assert said(module, [broken, *photos[48:60]], HALF)[0] == "fine"
    assert normalisation(classifier_from_module(module, HALF), [broken]) is None


# --- predictions -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    names = ("ant", "bee", "cat", "dog", "elk")
    return classifier_from_module(Normed(), UNIT, names)


def evidence(
    classifier: Classifier, of: Tensor, labels: Tensor | None = None, images: Sequence[Path] = ()
) -> Evidence:
    return Evidence(
        classifier=classifier,
        network=Network(classifier.program),
        images=tuple(ImageFile(path, path.name, str(at)) for at, path in enumerate(images)),
        logits=of,
        labels=torch.full((len(of),), -1) if labels is None else labels,
        label_rule="",
    )


def spread_logits(n: int = 100, classes: int = 5) -> Tensor:
    """A classifier at work: sure of its class, by and large."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(n, classes, generator=generator)
    values[torch.arange(n), torch.arange(n) % classes] += 5
    return values


def test_a_classifier_at_work_raises_no_alarm(classifier: Classifier) -> None:
    labels = torch.arange(100) % 5
    for of in (labels, None):
        seen = evidence(classifier, spread_logits(), of)
        found = [check(seen) for check in (one_class, logits, confidence)]
        assert [each.outcome for each in found if each] == ["fine"] * 3


def test_one_class_for_all_is_warned_of_by_its_name(classifier: Classifier) -> None:
    stuck = spread_logits()
    stuck[:95, 2] += 50
    found = one_class(evidence(classifier, stuck, torch.arange(100) % 5))
    assert found is not None and found.outcome == "warning"
    assert found.sentence.startswith("The class cat is predicted for 96.0 % of the calibration")
    # of unlabelled images of five classes all may be cats
    assert one_class(evidence(classifier, stuck)).outcome == "fine"  # type: ignore[union-attr]
    # and so they may be by their labels
    cats = torch.full((100,), 2)
    assert one_class(evidence(classifier, stuck, cats)).outcome == "fine"  # type: ignore[union-attr]
    assert one_class(evidence(classifier, stuck[:19])) is None


def test_logits_that_are_no_numbers_or_never_change_are_warned_of(classifier: Classifier) -> None:
    broken = spread_logits()
    broken[3, 1], broken[7, 0] = float("nan"), float("inf")
    found = logits(evidence(classifier, broken))
    assert found.outcome == "warning"
    assert "2 of 100 calibration images have logits that are not finite" in found.sentence
    same = spread_logits()[:1].expand(100, -1)
    found = logits(evidence(classifier, same + 1e-6 * torch.rand(100, 5)))
    assert found.outcome == "warning"
    assert "the same for every calibration image" in found.sentence
    # one image is no reason to doubt
    assert logits(evidence(classifier, same[:1])).outcome == "fine"


def test_confidence_that_is_that_of_chance_is_warned_of(classifier: Classifier) -> None:
    found = confidence(evidence(classifier, 0.01 * spread_logits()))
    assert found is not None and found.outcome == "warning"
    assert "its usual confidence is 20." in found.sentence
    # softmax of probabilities, a thousand classes: 0.003 at most
    probabilities = (5 * spread_logits(100, 1000)).softmax(dim=1)
    thousand = classifier_from_module(nn.Sequential(Normed(), nn.Linear(5, 1000)), UNIT)
    found = confidence(evidence(thousand, probabilities))
    assert found is not None and found.outcome == "warning"


def test_certainty_is_suspicious_only_where_it_is_often_wrong(classifier: Classifier) -> None:
    sure = 50 * spread_logits()
    right = torch.arange(100) % 5
    assert confidence(evidence(classifier, sure, right)).outcome == "fine"  # type: ignore[union-attr]
    wrong = right.clone()
    wrong[:40] = (wrong[:40] + 1) % 5
    found = confidence(evidence(classifier, sure, wrong))
    assert found is not None and found.outcome == "warning"
    assert "wrong about 40 %" in found.sentence
    assert confidence(evidence(classifier, sure)).outcome == "fine"  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_models_page_has_the_check_that_needs_no_labels(
    photos: list[Path], tmp_path: Path
) -> None:
    module = trained(Normed(), photos[:48], IMAGENET)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "normed.pt2")
    for given, outcome in ((IMAGENET, "fine"), (BYTES, "warning")):
        spec = ModelSpec(checkpoint=tmp_path / "normed.pt2", preprocessing=given)
        facts = examine(spec, photos[48:56])
        assert [(check.name, check.outcome) for check in facts.checks] == [("inputs", outcome)]
        assert examine(spec).checks == ()  # without images there is nothing to see


def test_the_audit_asks_with_its_own_images(photos: list[Path]) -> None:
    module = trained(Normed(), photos[:48], IMAGENET)
    wrong = classifier_from_module(module, BYTES)
    found = inputs(evidence(wrong, spread_logits(32), images=photos[48:]))
    assert found is not None and found.outcome == "warning"
