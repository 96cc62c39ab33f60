"""Other usual ways to prepare images, compared on labelled ones: noticed, and not by chance."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor, nn

from gsc_core.audit.checks.alternatives import LEVEL, alternatives, best_of, other_ways
from gsc_core.audit.checks.base import Evidence
from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import classifier_from_module, load_classifier
from gsc_core.classifier.network import Network
from gsc_core.classifier.preparation import typed
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, render_demo
from gsc_core.demo.render import Sizes
from gsc_core.images import ImageFile
from gsc_core.run.document import ModelCheck

SIDE = 16
ASSUMED = Preprocessing.assumed((SIDE, SIDE))
COLOURS = ((220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40), (40, 220, 220))
GREYS = ((40,) * 3, (90,) * 3, (130,) * 3, (170,) * 3, (220,) * 3)


class Painted(nn.Module):
    """Names the colour that is nearest to the mean of the images' left half, as pixels from 0 to 1.

    `undo` turns prepared images into those pixels, as the network's own training had them.
    """

    def __init__(
        self, undo: Callable[[Tensor], Tensor], colours: Sequence[tuple[int, ...]] = COLOURS
    ) -> None:
        super().__init__()
        self.undo = undo
        self.register_buffer("colours", torch.tensor(colours) / 255)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.undo(x)[..., : SIDE // 2].mean(dim=(2, 3))
        return 20 * seen @ self.colours.T - 10 * (self.colours**2).sum(dim=1)


def undoing(mean: tuple[float, ...], std: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return lambda x: x * scale + shift


IMAGENET = undoing(ASSUMED.mean, ASSUMED.std)


def painted(
    folder: Path,
    count: int,
    *,
    width: int = SIDE,
    only_left: int = SIDE,
    colours: Sequence[tuple[int, ...]] = COLOURS,
) -> list[Path]:
    """Images of one of the colours in their left columns; the rest has another one."""
    random = np.random.default_rng(0)
    paths = []
    for at in range(count):
        pixels = np.zeros((SIDE, width, 3))
        pixels[:] = colours[(at + 1 + at % 3) % len(colours)]
        pixels[:, :only_left] = colours[at % len(colours)]
        noisy = (pixels + random.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{at:03}.png")
        Image.fromarray(noisy).save(paths[-1])
    return paths


def evidence_of(
    module: nn.Module, paths: list[Path], preprocessing: Preprocessing, labels: list[int]
) -> Evidence:
    classifier = classifier_from_module(module, preprocessing)
    network = Network(classifier.program, None, torch.device("cpu"))
    pixels = [
        preprocessing.resize_crop(torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1))
        for p in paths
    ]
    with torch.no_grad():
        logits = network(preprocessing.normalise(torch.stack(pixels)))
    return Evidence(
        classifier=classifier,
        network=network,
        images=tuple(ImageFile(path, path.name, "") for path in paths),
        logits=logits,
        labels=torch.tensor(labels),
        label_rule="",
    )


def said(
    module: nn.Module, paths: list[Path], preprocessing: Preprocessing = ASSUMED
) -> ModelCheck | None:
    labels = [at % len(COLOURS) for at in range(len(paths))]
    return alternatives(evidence_of(module, paths, preprocessing, labels))


def test_what_was_right_is_fine(tmp_path: Path) -> None:
    check = said(Painted(IMAGENET), painted(tmp_path, 60))
    assert check is not None
    assert check.outcome == "fine"
    assert "classifies clearly more of 60 labelled" in check.sentence


@pytest.mark.parametrize("source", ["assumed", "given", "file"])
def test_exchanged_red_and_blue_are_noticed(tmp_path: Path, source: str) -> None:
    module = Painted(lambda x: IMAGENET(x.flip(1)))
    preprocessing = ASSUMED.model_copy(update={"source": source})
    check = said(module, painted(tmp_path, 60), preprocessing)
    assert check is not None
    assert check.outcome == "warning"
    assert "with red and blue swapped, as OpenCV reads images, " in check.sentence
    assert "x[:, [2, 1, 0]]" in check.sentence


def test_another_normalisation_is_noticed_without_a_batch_norm(tmp_path: Path) -> None:
    module = Painted(undoing((0.5,) * 3, (0.5,) * 3), GREYS)
    check = said(module, painted(tmp_path, 60, colours=GREYS))
    assert check is not None
    assert check.outcome == "warning"
    assert "with mean and standard deviation 0.5, " in check.sentence
    (setting,) = [word for word in check.sentence.split() if word.startswith("resize=")]
    given = Preprocessing.parse(setting.rstrip("."))
    assert (given.mean, given.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (given.resize, given.crop) == (ASSUMED.resize, ASSUMED.crop)


@pytest.mark.slow
def test_stretched_images_are_noticed(tmp_path: Path) -> None:
    """What is to be seen is at the edge, which a crop cuts off."""
    paths = painted(tmp_path, 60, width=3 * SIDE, only_left=SIDE)
    check = said(Painted(IMAGENET), paths)
    assert check is not None
    assert check.outcome == "warning"
    assert f"with images stretched to {SIDE}×{SIDE}, " in check.sentence
    (setting,) = [word for word in check.sentence.split() if word.startswith("resize=")]
    given = Preprocessing.parse(setting.rstrip("."))
    assert (given.resize, given.crop_mode) == ((SIDE, SIDE), "squash")
    again = said(Painted(IMAGENET), paths, given.model_copy(update={"source": "assumed"}))
    assert again is not None
    assert again.outcome == "fine"


def test_without_labels_it_is_said_that_nothing_was_compared(tmp_path: Path) -> None:
    paths = painted(tmp_path, 20)
    check = alternatives(evidence_of(Painted(IMAGENET), paths, ASSUMED, [-1] * 20))
    assert check is not None
    assert check.outcome == "unchecked"
    assert "without labels of these images, it cannot be compared" in check.sentence


def test_the_librarys_own_preprocessing_is_not_doubted(tmp_path: Path) -> None:
    library = ASSUMED.model_copy(update={"source": "library"})
    module = Painted(lambda x: IMAGENET(x.flip(1)))
    assert said(module, painted(tmp_path, 20), library) is None


def test_only_red_and_blue_are_doubted_of_what_a_person_states() -> None:
    given = ASSUMED.model_copy(update={"source": "given"})
    assert [way.exchanged for way in other_ways(given)] == [True]
    grey = given.model_copy(update={"mean": (0.5,), "std": (0.5,)})
    assert list(other_ways(grey)) == []


@pytest.mark.parametrize("text", ["resize=232,crop=224", "resize=256,crop=224", "resize=224x224"])
def test_the_usual_sizes_are_the_others(text: str) -> None:
    now = Preprocessing.parse(text).model_copy(update={"source": "assumed"})
    others = {way.preprocessing.resize for way in other_ways(now, with_normalisation=False)}
    assert others == {256, 232, (224, 224)} - {now.resize} | {now.resize}  # the last is exchanged
    assert len(list(other_ways(now, with_normalisation=False))) == 3


def test_the_more_ways_are_compared_the_more_images_it_takes(tmp_path: Path) -> None:
    """Seven images won and none lost is a chance of 1 in 128: enough for one way, not for many."""
    red, green, blue = COLOURS[:3]
    paths = painted(tmp_path, 10, colours=(red, blue) * 3 + (red,) + (green,) * 3)
    labels = [0, 2] * 3 + [0] + [1] * 3
    module = Painted(lambda x: IMAGENET(x.flip(1)))
    for source, outcome in (("given", "warning"), ("assumed", "fine")):
        preprocessing = ASSUMED.model_copy(update={"source": source})
        check = alternatives(evidence_of(module, paths, preprocessing, labels))
        assert check is not None
        assert check.outcome == outcome, check.sentence


@pytest.mark.slow
def test_a_small_gain_is_not_worth_a_warning(tmp_path: Path) -> None:
    """Seven images of 247, which cannot be chance and are less than 3 %."""
    paths = painted(tmp_path, 247, colours=(COLOURS[0],) * 7 + (COLOURS[1],) * 240)
    module = Painted(lambda x: IMAGENET(x.flip(1)))
    given = ASSUMED.model_copy(update={"source": "given"})
    check = alternatives(evidence_of(module, paths, given, [0] * 7 + [1] * 240))
    assert check is not None
    assert check.outcome == "fine", check.sentence


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_the_shortened_test_is_mcnemars_over_all_images(tmp_path: Path, seed: int) -> None:
    """Labels of chance, or mostly those that one of the ways predicts."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    paths = []
    for at in range(40):
        paths.append(tmp_path / f"{at:02}.png")
        Image.fromarray(random.integers(0, 256, (SIDE, 24, 3), dtype=np.uint8)).save(paths[-1])
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    ways = list(other_ways(ASSUMED))
    plain = evidence_of(module, paths, ASSUMED, [0] * len(paths))
    now = plain.logits.argmax(dim=1)
    predicted = []
    for way in ways:
        pixels = [
            way.pixels(torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1)) for p in paths
        ]
        predicted.append(module(way.preprocessing.normalise(torch.stack(pixels))).argmax(dim=1))
    right = predicted[seed % len(ways)] if seed % 2 else now
    noise = torch.from_numpy(random.random(len(paths)) < 0.1 * (seed % 7))
    labels = torch.where(noise, torch.from_numpy(random.integers(0, 4, len(paths))), right)
    evidence = evidence_of(module, paths, ASSUMED, labels.tolist())

    clear = {}
    for way, by_way in zip(ways, predicted, strict=True):
        won = int(((by_way == labels) & (now != labels)).sum())
        lost = int(((by_way != labels) & (now == labels)).sum())
        p = binomtest(won, won + lost, alternative="greater").pvalue if won + lost else 1.0
        if p <= LEVEL / len(ways) and won - lost >= 0.03 * len(paths):
            clear[way.how] = won - lost
    best = best_of(ways, evidence, torch.arange(len(paths)))
    assert (best is None) == (not clear)
    if best is not None:
        assert clear[best.way.how] == best.won - best.lost == max(clear.values())


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing.assumed((224, 224)),
        Preprocessing.parse("resize=none,crop=48x32,mean=0.1/0.2/0.3"),
        Preprocessing.parse("resize=40x60,crop=30x20,crop_mode=center,interpolation=bicubic"),
        Preprocessing.parse("resize=224,crop_mode=border,fill=1/2/3,std=0.00392157"),
        Preprocessing.parse("resize=224x224"),
        Preprocessing(mean=(0.5,), std=(0.25,)),
    ],
)
def test_a_preprocessing_is_typed_as_it_is_read(preprocessing: Preprocessing) -> None:
    again = Preprocessing.parse(typed(preprocessing)).for_channels(preprocessing.shape[0])
    assert again == preprocessing.model_copy(update={"source": "given"})


class Exchanged(nn.Module):
    """A network trained with blue before red."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.flip(1))


@pytest.mark.slow
def test_an_audit_notices_a_network_that_was_trained_with_blue_first(tmp_path: Path) -> None:
    render_demo(tmp_path / "signs", sizes=Sizes(calibration=0, id=10 * len(CLASS_NAMES), ood=6))
    known = load_classifier(ModelSpec(checkpoint=DEMO_WEIGHTS))
    side = known.preprocessing.crop[0]
    program = torch.export.export(
        Exchanged(known.program.module(check_guards=False)),
        (torch.zeros(2, 3, side, side),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(program, tmp_path / "m.pt2")
    (tmp_path / "names.txt").write_text("\n".join(CLASS_NAMES), encoding="utf-8")
    spec = AuditSpec(
        model=ModelSpec(
            checkpoint=tmp_path / "m.pt2",
            preprocessing=known.preprocessing.model_copy(update={"source": "given"}),
            class_names=tmp_path / "names.txt",
        ),
        id=tmp_path / "signs" / "id",
        ood={"textures": tmp_path / "signs" / "ood" / "textures"},
        detectors=(DetectorSpec(name="energy"),),
        repeats=10,
    )
    run = run_audit(spec, tmp_path / "run")
    (check,) = (one for one in run.document.checks if one.name == "preprocessing")
    assert check.outcome == "warning"
    assert "red and blue swapped" in check.sentence
