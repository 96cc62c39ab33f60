"""Our detectors in pytorch-ood's loops, against the audit's own scorer on the same images.

The classifier is `small_classifier`'s; a tensor value v is the pixel (v + 0.5) / 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_ood import api
from pytorch_ood.benchmark import Benchmark
from pytorch_ood.detector import EnergyBased
from pytorch_ood.metrics import OODMetrics
from pytorch_ood.utils import GridSearch
from scipy.stats import chisquare
from small_classifier import CLASSES, Convolutional, pictures, strangers, world
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import CATALOGUE, find
from gsc_core.detectors.gsc import GSC
from gsc_core.errors import CheckpointError, GscError, ImageError, SpecError
from gsc_core.evaluation.metrics import metrics
from gsc_core.images import read_folder
from gsc_core.images.surrogates import KINDS, surrogates_of_tensor
from gsc_core.scoring import drop_in
from gsc_core.scoring.calibration import SAMPLE_IMAGES, calibrate
from gsc_core.scoring.drop_in import PytorchOodDetector
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.scorer import Scorer, Scores
from gsc_core.scoring.tensors import Colours, Reservoir

PREPROCESSING = Preprocessing(resize=None, crop=12, mean=0.5 / 3, std=1 / 3)
# the surrogate outliers they choose on are drawn by tensors here and by files in the audit
CHOOSING = [d.name for d in CATALOGUE if Fit.SURROGATES in d.fitted_with and d is not GSC]
SAME = [d.name for d in CATALOGUE if d.name not in CHOOSING]


def pixels_of(images: Tensor) -> Tensor:
    return (255 * (images + 0.5) / 3).clamp(0, 255).round().byte()


def seen(images: Tensor) -> Tensor:
    """What the network sees of these images once they were 8-bit images."""
    return PREPROCESSING.normalise(pixels_of(images))


@dataclass(frozen=True)
class Sets:
    """Familiar images to fit on, and a test set of familiar and strange ones, y < 0."""

    fit: TensorDataset
    test: TensorDataset

    def loader(self, batch_size: int = 32) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.fit, batch_size)


@pytest.fixture(scope="module")
def sets() -> Sets:
    """Images to fit on, with unfamiliar images among them that must be left out."""
    images, labels = pictures(240, seed=2)
    order = torch.randperm(270, generator=torch.Generator().manual_seed(1))
    mixed = seen(torch.cat([images, strangers(30, seed=8)]))[order]
    known = torch.cat([labels, torch.full((30,), -1)])[order]
    familiar, classes = pictures(80, seed=3)
    x = seen(torch.cat([familiar, strangers(80, seed=4)]))
    y = torch.cat([classes, -1 - torch.arange(80) % 3])
    return Sets(TensorDataset(mixed, known), TensorDataset(x, y))


def ours(name: str = "gsc", **knobs: object) -> PytorchOodDetector:
    return PytorchOodDetector(
        world().model, find(name).configured(knobs), PREPROCESSING, split="block"
    )


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, sets: Sets) -> tuple[Scorer, Scores]:
    """The audit's scorer, calibrated on files with the images of `sets.fit`, and its scores."""
    folder: Path = tmp_path_factory.mktemp("calibration")
    images, labels = pictures(240, seed=2)
    for at, picture in enumerate(pixels_of(images).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(picture).save(folder / f"{at:03}.bmp")
    scorer = Scorer(world().network, PREPROCESSING, [d() for d in CATALOGUE])
    files = read_folder(folder, "id").images
    calibrate(scorer, files, labels.tolist(), seed=0, pace=Pace(32, 1, lambda *_: None))
    x = (255 * (sets.test.tensors[0] + 0.5) / 3).round().byte()
    return scorer, scorer.score(scorer.represent(x))


# --- fit, predict and the metrics ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_the_librarys_loop_gives_the_audits_scores(
    name: str, sets: Sets, audited: tuple[Scorer, Scores]
) -> None:
    scorer, expected = audited
    assert name not in scorer.excused
    detector = ours(name).fit(sets.loader())
    found = torch.cat([detector(x) for x, _ in DataLoader(sets.test, 50)])
    assert not found.requires_grad and found.shape == (160,)
    torch.testing.assert_close(found, expected.outlier[name], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOOSING)
def test_what_chooses_on_surrogates_does_as_well_as_in_the_audit(
    name: str, sets: Sets, audited: tuple[Scorer, Scores]
) -> None:
    scorer, expected = audited
    assert name not in scorer.excused
    x, y = sets.test.tensors
    found, theirs = ours(name).fit(sets.loader())(x), expected.outlier[name]
    aurocs = [metrics(scores[y >= 0], scores[y < 0]).auroc for scores in (found, theirs)]
    assert aurocs[0] == pytest.approx(aurocs[1], abs=0.03)
    again = ours(name).fit(sets.loader(7))(x)
    torch.testing.assert_close(again, found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gsc", "gsc-drop", "energy", "knn"])
def test_the_librarys_metrics_are_ours(name: str, sets: Sets) -> None:
    detector = ours(name).fit(sets.loader())
    measured, scores = OODMetrics(), []
    for x, y in DataLoader(sets.test, 50):
        measured.update(detector(x), y)
        scores.append(detector.predict(x))
    familiar = torch.cat(scores)[:80].double().numpy()
    strange = torch.cat(scores)[80:].double().numpy()
    truth, found = metrics(familiar, strange), measured.compute()
    assert found["AUROC"] == pytest.approx(truth.auroc, abs=1e-9)
    assert found["FPR95TPR"] == pytest.approx(truth.fpr95_ood_positive, abs=1e-9)


def test_energy_is_the_librarys_and_needs_no_fit(sets: Sets) -> None:
    x = sets.test.tensors[0]
    detector = ours("energy", temperature=2.0)
    assert not detector.requires_fit
    expected = EnergyBased(world().model, t=2.0)(x).detach()
    torch.testing.assert_close(detector(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [d.name for d in CATALOGUE if not d.fitted_with])
def test_what_learns_nothing_scores_unfitted_as_fitted(name: str, sets: Sets) -> None:
    x = sets.test.tensors[0]
    assert torch.equal(ours(name)(x), ours(name).fit(sets.loader())(x))


class InMemory(Benchmark):
    """Two sets of unfamiliar images against the familiar images."""

    def __init__(self, sets: Sets) -> None:
        self.ood_names = ["noise", "dark"]
        x, y = sets.test.tensors
        self.fit_on, self.familiar = sets.fit, TensorDataset(x[y >= 0], y[y >= 0])
        dark = seen(strangers(40, seed=11) - 0.3)
        self.strange = [
            TensorDataset(images, torch.full((len(images),), -1)) for images in (x[y < 0], dark)
        ]

    def train_set(self) -> Dataset[tuple[Tensor, ...]]:
        return self.fit_on

    def test_sets(self, known: bool = True, unknown: bool = True) -> list[Dataset[object]]:
        assert known and unknown
        return [self.familiar + strange for strange in self.strange]


@pytest.mark.slow
def test_in_the_librarys_benchmark_beside_its_own_detectors(sets: Sets) -> None:
    benchmark = InMemory(sets)
    loader = DataLoader(benchmark.train_set(), 64)
    mine = [ours("gsc").fit(loader), ours("knn").fit(loader), ours("energy")]
    rows = benchmark.evaluate([*mine, EnergyBased(world().model)], {"batch_size": 50})
    assert [row["Dataset"] for row in rows] == ["noise"] * 4 + ["dark"] * 4
    for row, detector in zip(rows, [*mine, None, *mine, None], strict=True):
        if detector is None:
            continue
        strange = benchmark.strange[benchmark.ood_names.index(row["Dataset"])].tensors[0]
        scores = [detector(x).numpy() for x in (benchmark.familiar.tensors[0], strange)]
        assert row["AUROC"] == pytest.approx(metrics(*scores).auroc, abs=1e-9)
    for ours_, theirs in ((rows[2], rows[3]), (rows[6], rows[7])):
        assert ours_["AUROC"] == pytest.approx(theirs["AUROC"], abs=1e-3)


# --- its search over settings -------------------------------------------------------------------


@pytest.mark.slow
def test_the_librarys_grid_search_leaves_the_best_setting_fitted(sets: Sets) -> None:
    space = {"ranking": ["gradient", "random"], "share": [0.05, 0.5]}
    detector = ours("gsc", granularity="channel")
    search = GridSearch(detector, sets.loader(), DataLoader(sets.test, 50), space)
    best = search.run()
    x, y = sets.test.tensors
    aurocs = {}
    for ranking in space["ranking"]:
        for share in space["share"]:
            scores = (
                ours("gsc", granularity="channel", ranking=ranking, share=share)
                .fit(sets.loader())(x)
                .numpy()
            )
            aurocs[ranking, share] = metrics(scores[y >= 0], scores[y < 0]).auroc
    assert len({round(auroc, 6) for auroc in aurocs.values()}) > 1  # there is something to choose
    found = {tuple(r["params"].values()): r["score"] for r in search.results_}
    assert found == pytest.approx(aurocs, abs=1e-9)
    assert search.best_score_ == pytest.approx(max(aurocs.values()), abs=1e-9)
    assert detector.get_hyperparameters() == best
    fresh = ours("gsc", granularity="channel", **best).fit(sets.loader())
    assert torch.equal(detector(x), fresh(x))


@pytest.mark.slow
def test_a_setting_is_learned_anew_without_the_loader(sets: Sets) -> None:
    x = sets.test.tensors[0]
    detector = ours("gsc").fit(sets.loader())
    before = detector(x)
    detector.set_hyperparameters(intervention="truncate", percentile=0.5)
    fresh = ours("gsc", intervention="truncate", percentile=0.5).fit(sets.loader())
    assert torch.equal(detector(x), fresh(x)) and not torch.equal(detector(x), before)


def test_the_published_direction_can_be_searched_too(sets: Sets) -> None:
    """It needs no surrogate outliers by itself, and has them when it is to learn a direction."""
    space = {"direction": ["published", "learned"], "share": [1.0]}
    detector = ours("gsc-drop", confidence="logit")
    search = GridSearch(detector, sets.loader(), DataLoader(sets.test, 50), space)
    assert search.run()["direction"] == "learned"
    published, learned = (found["score"] for found in search.results_)
    assert published < 0.5 and learned == pytest.approx(1 - published)


def test_what_the_library_reads_of_a_detector() -> None:
    detector = PytorchOodDetector(world().model)
    assert isinstance(detector, api.Detector) and isinstance(detector.detector, GSC)
    assert detector.requires_fit and detector.device == torch.device("cpu")
    assert detector.info.paper.venue == "ICCV" and api.Task.CLASSIFICATION in detector.info.tasks
    assert detector.hyperparameter_space["granularity"] == ["element", "channel"]
    assert detector.get_hyperparameters()["granularity"] == "element"
    assert "share" not in detector.hyperparameter_space  # a number has no list of values
    assert ours("knn").hyperparameter_space == {}


# --- the loader ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsc", "react", "knn"])
def test_batch_size_and_strangers_in_the_loader_change_nothing(name: str, sets: Sets) -> None:
    x, y = sets.fit.tensors
    familiar = TensorDataset(x[y >= 0], y[y >= 0])
    last = TensorDataset(torch.cat([x[y >= 0], x[y < 0]]), torch.cat([y[y >= 0], y[y < 0]]))
    test = sets.test.tensors[0]
    expected = ours(name).fit(sets.loader(32))(test)
    for loader in (sets.loader(7), DataLoader(familiar, 32), DataLoader(last, 40)):
        torch.testing.assert_close(ours(name).fit(loader)(test), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 9, 1000])
def test_a_sample_is_the_same_in_any_batch_size(size: int) -> None:
    numbers = torch.arange(1000.0)[:, None]
    whole, parts = Reservoir(seed=3), Reservoir(seed=3)
    whole.add(numbers, numbers[:, 0])
    for at in range(0, 1000, size):
        parts.add(numbers[at : at + size], numbers[at : at + size, 0])
    (a, a_labels), (b, b_labels) = whole.shuffled(), parts.shuffled()
    assert torch.equal(a, b) and torch.equal(a_labels, b_labels)
    assert torch.equal(a[:, 0], a_labels) and len(a.unique()) == SAMPLE_IMAGES


@pytest.mark.slow
def test_every_image_of_a_stream_has_the_same_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen among 20, and at each place: χ² against even counts over 2,000 draws."""
    monkeypatch.setattr("gsc_core.scoring.tensors.SAMPLE_IMAGES", 5)
    numbers = torch.arange(20.0)[:, None]
    places = np.zeros((5, 20))
    for seed in range(2000):
        reservoir = Reservoir(seed)
        reservoir.add(numbers, numbers[:, 0])
        places[np.arange(5), reservoir.shuffled()[1].int()] += 1
    assert chisquare(places.sum(axis=0)).pvalue > 1e-4
    assert chisquare(places[0]).pvalue > 1e-4


def test_a_sample_is_bounded_in_bytes_and_holds_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsc_core.scoring.tensors.SAMPLE_BYTES", 10 * 3 * 8 * 8 * 4)
    reservoir = Reservoir(seed=0)
    for _ in range(5):
        reservoir.add(torch.rand(50, 3, 8, 8), torch.zeros(50))
    images, labels = reservoir.shuffled()
    assert len(images) == len(labels) == 10
    held = sum(image.untyped_storage().nbytes() for image, _ in reservoir._held)
    assert held == images.nbytes


class Kept(Detector):
    """Scores nothing, and shows what it was fitted on."""

    name, title, about = "kept", "Kept", ""
    needs = Need.LOGITS | Need.FEATURE_MAP | Need.GRADIENT
    fitted_with = Fit.IMAGES | Fit.SURROGATES
    found: Calibration

    def fit(self, calibration: Calibration) -> Kept:
        self.found = calibration
        return self

    def score(self, batch: Representation) -> Tensor:
        return torch.zeros(len(batch))


def long_loader(n: int) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = pictures(64, seed=6)
    for at in range(0, n, 64):
        yield images + at / n, labels


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through the network at a time."""
    sizes: list[int] = []
    represent = drop_in.represent

    def counted(network: Network, images: Tensor, needs: Need) -> Representation:
        sizes.append(len(images))
        return represent(network, images, needs)

    monkeypatch.setattr(drop_in, "represent", counted)
    return sizes


@pytest.mark.slow
def test_a_long_loader_leaves_a_bounded_sample_that_passes_the_network_once(
    passed: list[int],
) -> None:
    kept = [Kept(), Kept(), Kept()]
    for detector, seed in zip(kept, (0, 0, 1), strict=True):
        PytorchOodDetector(world().model, detector, seed=seed).fit(long_loader(6400))
    first, again, other = (detector.found for detector in kept)
    assert len(first.sample) == len(first.logits) == len(first.labels) == SAMPLE_IMAGES
    assert first.surrogates is not None and again.surrogates is not None
    assert len(first.surrogates) == SAMPLE_IMAGES
    assert sum(passed) == 3 * 2 * SAMPLE_IMAGES and max(passed) <= 32
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.surrogates.logits, again.surrogates.logits)
    assert not torch.equal(first.logits, other.logits)


@pytest.mark.parametrize("room", [13, 40])
def test_large_maps_make_the_sample_small(
    room: int, sets: Sets, passed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for logits, map and gradient of so many images, and of as many surrogates."""
    split = world().network.split
    assert split is not None
    numbers = CLASSES + 2 * int(np.prod(split.shape))
    monkeypatch.setattr("gsc_core.scoring.drop_in.SAMPLE_BYTES", room * 2 * 4 * numbers)
    kept = Kept()
    PytorchOodDetector(world().model, kept, PREPROCESSING, split="block").fit(sets.loader())
    assert len(kept.found.sample) == len(kept.found.labels) == room
    made = room // 4 * 4  # of each of the four kinds as many
    assert kept.found.surrogates is not None and len(kept.found.surrogates) == made
    assert sum(passed) == max(32, room) + made


@pytest.mark.parametrize(("name", "looked_at"), [("knn", 270), ("energy", 30), ("odin", 30)])
def test_each_image_passes_once_and_none_in_vain(
    name: str, looked_at: int, sets: Sets, passed: list[int]
) -> None:
    """What learns nothing looks no further than at the first batch."""
    ours(name).fit(sets.loader(30))
    assert sum(passed) == int((sets.fit.tensors[1][:looked_at] >= 0).sum())


# --- surrogate outliers and the direction -------------------------------------------------------


class Templates(nn.Module):
    """A logit for each of 16 random ±1 patterns of 3×16×16: their sum of products with the image.

    The largest logit is highest for the patterns themselves, by Cauchy and Schwarz; shuffled,
    enlarged, scrambled or blended they score lower.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())
        self.fc = nn.Linear(3 * 16 * 16, 16, bias=False)
        with torch.no_grad():
            self.layer[0].weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(2.0 * torch.randint(2, (16, 768), generator=generator) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(x).flatten(1))


def patterns(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(16, (n,), generator=generator)
    images = (1 + Templates().fc.weight.detach()[labels]).view(n, 3, 16, 16) / 2
    return (0.9 * images + 0.1 * torch.rand(n, 3, 16, 16, generator=generator)), labels


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(crop=16, mean=0, std=1)])
@pytest.mark.parametrize(
    ("knobs", "turned"),
    [
        # nothing is left of the predicted logit: it drops by itself, and falls to unfamiliar
        # images' level
        ({"share": 1.0, "reading": "drop", "confidence": "logit"}, True),
        ({"share": 0.0, "reading": "residual_logit"}, False),
    ],
)
def test_the_direction_is_learned_on_surrogates(
    knobs: dict[str, object], turned: bool, preprocessing: Preprocessing | None
) -> None:
    module, gsc = Templates(), GSC(**knobs)
    detector = PytorchOodDetector(module, gsc, preprocessing, split="layer")
    detector.fit(DataLoader(TensorDataset(*patterns(100, seed=1)), 32))
    assert gsc.flipped_ is turned
    familiar = patterns(40, seed=2)[0]
    both = torch.cat([familiar, torch.rand(40, 3, 16, 16)])
    expected = -module(both).detach().amax(dim=1)
    torch.testing.assert_close(detector(both), expected, rtol=1e-5, atol=1e-3)
    assert detector(both)[:40].max() < detector(both)[40:].min()


@pytest.mark.slow
def test_without_preprocessing_the_direction_and_scores_are_the_same(sets: Sets) -> None:
    x = sets.test.tensors[0]
    unknown = PytorchOodDetector(world().model, GSC(), split="block").fit(sets.loader())
    assert torch.equal(unknown(x), ours().fit(sets.loader())(x))


def test_colours_are_the_pictures_again() -> None:
    """Any 8-bit image comes back whole, with the preprocessing and without."""
    pixels = torch.randint(256, (5, 3, 9, 9), dtype=torch.uint8)
    pixels[0, :, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)  # both ends in each channel
    for preprocessing in (Preprocessing(), PREPROCESSING):
        images = preprocessing.normalise(pixels)
        for known in (preprocessing, None):
            colours = Colours.of(images, known)
            assert torch.equal(colours.pixels(images), pixels)
            torch.testing.assert_close(colours.images(pixels), images, rtol=0, atol=1e-5)


def test_one_colour_and_values_beyond_white_are_borne() -> None:
    flat = torch.full((4, 3, 8, 8), 0.25)
    only = Colours.of(flat, None)
    assert not only.pixels(flat).any() and torch.equal(only.images(only.pixels(flat)), flat)
    sharp = torch.rand(4, 3, 8, 8)
    sharp[0, 0, 0, :3] = torch.tensor([-0.1, 1.1, 5.0])
    pixels = Colours.of(sharp, Preprocessing(mean=0, std=1)).pixels(sharp)
    assert pixels[0, 0, 0, :3].tolist() == [0, 255, 255]


def test_surrogates_of_tensors_are_made_by_the_same_kinds() -> None:
    pixels = torch.randint(256, (6, 3, 16, 16), dtype=torch.uint8)
    four = KINDS[:4]
    made = surrogates_of_tensor(pixels, four, seed=4).view(6, 4, 3, 16, 16)
    assert torch.equal(made.flatten(0, 1), surrogates_of_tensor(pixels, four, seed=4))
    assert not torch.equal(made.flatten(0, 1), surrogates_of_tensor(pixels, four, seed=5))
    for at, (picture, kinds) in enumerate(zip(pixels, made, strict=True)):
        jigsaw, mixed = kinds[1], kinds[3].double()
        assert torch.equal(jigsaw.flatten().sort().values, picture.flatten().sort().values)
        a, b = picture.double(), pixels[at - 1].double()
        share = ((mixed - b) * (a - b)).sum() / (a - b).square().sum()
        assert 0.39 < share < 0.61
        torch.testing.assert_close(mixed, b + share * (a - b), rtol=0, atol=1)
    with pytest.raises(ImageError, match="two images"):
        surrogates_of_tensor(pixels[:1], four)
    assert len(surrogates_of_tensor(pixels[:1], four[:3])) == 3


# --- the loop around ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsc", "odin", "knn", "react", "mahalanobis"])
def test_the_mode_of_the_loop_around_does_not_matter(name: str, sets: Sets) -> None:
    x = sets.test.tensors[0]
    expected = ours(name).fit(sets.loader())(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = ours(name).fit((a + 0, b) for a, b in sets.loader())(x + 0)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found = ours(name).fit(sets.loader())(x.double().requires_grad_())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_module_is_copied_in_eval_mode_and_left_as_it_is(sets: Sets) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
    module.extend([nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]).train()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    detector = PytorchOodDetector(module, find("energy")())
    x = sets.test.tensors[0]
    scores = detector(x)
    assert module.training and all(p.requires_grad for p in module.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    truth = -module.eval()(x).detach().logsumexp(1)
    torch.testing.assert_close(scores, truth, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        module.get_parameter("0.weight").mul_(3)
    assert torch.equal(detector(x), scores)
    assert not torch.allclose(scores, -module(x).detach().logsumexp(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gsc", "react", "knn", "vim", "mahalanobis", "energy", "gradnorm"]
)
def test_on_another_device_it_is_fitted_again(name: str, sets: Sets) -> None:
    """`cpu:0` is another name for the same place, and goes the whole way to a new device."""
    x = sets.test.tensors[0]
    detector = ours(name, **({"intervention": "truncate"} if name == "gsc" else {}))
    expected = detector.fit(sets.loader())(x)
    network = detector._network
    assert detector.to("cpu") is detector and detector._network is network
    detector.to("cpu:0")
    assert detector.device == torch.device("cpu:0") and detector._network is not network
    assert getattr(detector.detector, "network_", detector._network) is detector._network
    torch.testing.assert_close(detector(x), expected, rtol=1e-5, atol=1e-5)
    fresh = ours(name).to("cpu:0")
    assert fresh.fit(sets.loader())(x).shape == expected.shape


# --- what a person can do wrong -----------------------------------------------------------------


def test_predict_before_fit(sets: Sets) -> None:
    with pytest.raises(api.RequiresFittingException):
        ours()(sets.test.tensors[0])


def of(x: Tensor, y: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    return [(x, torch.zeros(len(x), dtype=torch.long) if y is None else y)]


few, size_16 = seen(pictures(4, seed=1)[0]), torch.rand(20, 3, 16, 16)
enough = seen(pictures(20, seed=1)[0])
MISTAKES: list[tuple[type[GscError], str, Callable[[], PytorchOodDetector], Any]] = [
    (SpecError, "^gsc cannot be used here: needs at least 10 calibration images", ours, of(few)),
    (SpecError, "^gsc cannot be used here: needs at least 10", ours, of(few[:1])),
    (SpecError, "^knn cannot be used here: needs at least 10", lambda: ours("knn"), of(few)),
    (
        SpecError,
        "^knn cannot be used here: the network does not end in a linear layer",
        lambda: PytorchOodDetector(Convolutional(), find("knn")()),
        of(enough),
    ),
    (ImageError, "No image to fit on has a label of 0 or more", ours, []),
    (ImageError, "has a label of 0 or more", ours, of(few, torch.full((4,), -1))),
    (
        SpecError,
        r"12×12.*float32 \[20, 3, 16, 16\]",
        lambda: ours("knn"),
        of(few) + of(size_16),
    ),
    (SpecError, "these are uint8", ours, of(pixels_of(few))),
    (SpecError, r"\[4, 1, 12, 12\]", ours, of(few[:, :1])),
    (SpecError, r"\[3, 12, 12\]", ours, of(few[0])),
    (
        SpecError,
        "mean and standard deviation",
        lambda: PytorchOodDetector(world().model, GSC(), Preprocessing(mean=0.5, std=1)),
        of(enough),
    ),
    (SpecError, "nowhere", lambda: PytorchOodDetector(world().model, split="nowhere"), of(few)),
    (CheckpointError, "logits", lambda: PytorchOodDetector(nn.Conv2d(3, 2, 3)), of(few)),
]


@pytest.mark.parametrize(("error", "sentence", "make", "loader"), MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_fitted(
    error: type[GscError], sentence: str, make: Callable[[], PytorchOodDetector], loader: Any
) -> None:
    detector = make()
    with pytest.raises(error, match=sentence) as found:
        detector.fit(loader)
    assert str(found.value).endswith(".") and "\n" not in str(found.value)
    with pytest.raises(api.RequiresFittingException):
        detector(few)


def test_a_fit_that_fails_leaves_the_one_before_behind(sets: Sets) -> None:
    detector = ours().fit(sets.loader())
    with pytest.raises(ImageError):
        detector.fit([])
    with pytest.raises(api.RequiresFittingException):
        detector(few)


@pytest.mark.slow
def test_mistakes_after_fitting(sets: Sets) -> None:
    detector = ours().fit(sets.loader())
    with pytest.raises(SpecError, match="12×12"):
        detector(size_16)
    with pytest.raises(SpecError, match="no setting 'shares'"):
        detector.set_hyperparameters(shares=0.1)
    with pytest.raises(SpecError, match="must be one of"):
        detector.set_hyperparameters(ranking="best")
    assert detector(few).shape == (4,)
    assert detector.fit(of(size_16)).predict(size_16).shape == (20,)  # fitted anew on another size
