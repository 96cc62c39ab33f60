"""Scoring real files on disk: batches, memory, calibration, chunks, and runs that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from browser import PATIENCE
from PIL import Image
from places import IMPORTABLE
from pydantic import PrivateAttr
from small_classifier import CLASSES, EVERYTHING, World, pictures, world
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.detectors.energy import Energy
from gsc_core.detectors.readout import Scale
from gsc_core.detectors.selection import read
from gsc_core.detectors.selection_loss import separation
from gsc_core.errors import ImageError, SpecError
from gsc_core.files import written_aside
from gsc_core.images import ImageFile, ImageSet, read_folder
from gsc_core.images.surrogates import KINDS, surrogate_makers
from gsc_core.run.layout import PREDICTED_AFTER
from gsc_core.scoring.calibration import SAMPLE_IMAGES, calibrate
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore, Rows, join
from gsc_core.scoring.loading import Pace, ahead, read_batches
from gsc_core.scoring.local import score_set
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.scorer import Scorer, Scores

# a tensor value v is the pixel (v + 0.5) / 3
MEAN, STD = (0.5 / 3,) * 3, (1 / 3,) * 3
MANY = 2 * CHUNK_IMAGES + 76  # three chunks, the last one short
DETECTORS = "energy,gsc,gsc-drop,react"

WITH_THIS_FILE = os.pathsep.join([IMPORTABLE, str(Path(__file__).parent)])


class Counting(Preprocessing):
    """The real preprocessing, that counts the images decoded for it, by how they look."""

    _made: list[int] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def resize_crop(self, image: Tensor) -> Tensor:
        with self._lock:
            self._made.append(int(image.sum()))
        return super().resize_crop(image)

    @property
    def made(self) -> int:
        return len(self._made)


def preprocessing() -> Counting:
    return Counting(resize=12, crop=12, mean=MEAN, std=STD)


def pace(
    batch_size: int = 8, threads: int = 2, step: Callable[[str, int, int], None] | None = None
) -> Pace:
    return Pace(batch_size, threads, step or (lambda *_: None))


def write(folder: Path, images: Tensor) -> ImageSet:
    folder.mkdir(parents=True)
    pixels = (255 * (images + 0.5) / 3).clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy()
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{i:05}.bmp")
    return read_folder(folder, "id")


def pixels_of(images: Sequence[ImageFile]) -> Tensor:
    """What the network sees, read with Pillow alone: 12×12 images are neither resized nor cut."""
    arrays = [np.asarray(Image.open(image.path).convert("RGB")) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def normal(images: Sequence[ImageFile]) -> Tensor:
    return (pixels_of(images).double() / 255 * 3 - 0.5).float()


@pytest.fixture(scope="module")
def small() -> World:
    return world()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return write(tmp_path_factory.mktemp("many") / "id", pictures(MANY, seed=21)[0])


@pytest.fixture
def some(many: ImageSet) -> Sequence[ImageFile]:
    return many.images[:20]


def fitted(small: World, names: str = DETECTORS, *more: Detector) -> Scorer:
    """A scorer whose detectors are fitted on the small classifier's own calibration."""
    scorer = Scorer(small.network, preprocessing(), [*parse_detectors(names), *more])
    scorer.fit(scorer.detectors, small.calibration)
    assert not scorer.excused
    return scorer


def same(a: Scores, b: Scores, within: float = 1e-5) -> None:
    assert torch.equal(a.predicted, b.predicted)
    torch.testing.assert_close(a.confidence, b.confidence, rtol=0, atol=within)
    assert list(a.outlier) == list(b.outlier)
    for name, scores in a.outlier.items():
        torch.testing.assert_close(scores, b.outlier[name], rtol=1e-5, atol=within)


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("size", "threads"), [(1, 1), (3, 2), (8, 4), (64, 2)])
def test_batches_keep_the_order_and_the_pixels(
    some: Sequence[ImageFile], size: int, threads: int
) -> None:
    batches = list(read_batches(some, preprocessing(), size, threads))
    assert [len(batch.images) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert tuple(image for batch in batches for image in batch.images) == tuple(some)
    read = torch.cat([batch.pixels for batch in batches])
    assert read.dtype == torch.uint8
    assert torch.equal(read, pixels_of(some))


def broken_among(some: Sequence[ImageFile], folder: Path, at: Sequence[int]) -> list[ImageFile]:
    """The images, some of them cut off in the middle of their pixels."""
    folder.mkdir()
    files = list(some)
    for i in at:
        path = folder / f"cut-{i}.bmp"
        path.write_bytes(files[i].path.read_bytes()[:200])
        files[i] = ImageFile(path, path.name, f"{i:064}")
    return files


def test_a_broken_picture_is_told_and_the_others_go_on(
    some: Sequence[ImageFile], tmp_path: Path
) -> None:
    files = broken_among(some, tmp_path / "cut", [0, 5, 6, 7, 8, 9])
    batches = list(read_batches(files, preprocessing(), 5))
    assert [len(batch.images) for batch in batches] == [4, 0, 5, 5]
    assert [one.name for batch in batches for one in batch.broken] == [
        f"cut-{i}.bmp" for i in (0, 5, 6, 7, 8, 9)
    ]
    assert all(one.reason.endswith(".") for batch in batches for one in batch.broken)
    good = [image for image in files if not image.name.startswith("cut")]
    assert [image for batch in batches for image in batch.images] == good
    read = torch.cat([batch.pixels for batch in batches if batch.images])
    assert torch.equal(read, pixels_of(good))


@pytest.mark.parametrize("size", [1, 4])
def test_pictures_are_decoded_a_bounded_way_ahead(many: ImageSet, size: int) -> None:
    counted = preprocessing()
    batches = read_batches(many.images[:60], counted, size, threads=2)
    assert counted.made == 0
    for taken in range(1, 6):
        next(batches)
        # what is taken, and never more than two batches beyond
        assert size * taken <= counted.made <= size * (taken + 2)
    batches.close()
    ended = counted.made
    assert ended <= size * 7
    assert threading.active_count() < 20
    assert counted.made == ended  # closing waits for its threads


def test_looking_ahead_goes_as_far_as_it_may() -> None:
    """All of `depth` may be under way at once: the first waits for the last of them."""
    last = threading.Event()

    def work(item: int) -> int:
        if item == 3:
            last.set()
        assert last.wait(PATIENCE)
        return item

    assert list(ahead(work, range(10), threads=4, depth=4)) == list(range(10))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("odd\n size."), "cannot be prepared: ZeroDivisionError: odd size."),
        (MemoryError(), "needs more memory than is available: save it smaller."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9."),
            "needs more memory than is available: save it smaller.",
        ),
    ],
)
def test_no_error_in_one_image_reaches_the_others(
    some: Sequence[ImageFile], error: Exception, said: str
) -> None:
    class Failing(Counting):
        def resize_crop(self, image: Tensor) -> Tensor:
            resized = super().resize_crop(image)
            if self.made == 3:
                raise error
            return resized

    failing = Failing(resize=12, crop=12)
    batches = list(read_batches(some, failing, 4, threads=1))
    (broken,) = [one for batch in batches for one in batch.broken]
    assert (broken.name, broken.reason) == (some[2].name, f"{some[2].path.name} {said}")
    read = torch.cat([batch.pixels for batch in batches])
    assert torch.equal(read, pixels_of([*some[:2], *some[3:]]))


# --- one pass ---------------------------------------------------------------------------------


@pytest.mark.parametrize("needs", [Need.LOGITS, Need.LOGITS | Need.FEATURES, EVERYTHING])
def test_a_pass_leaves_no_graph_and_only_what_is_needed(small: World, needs: Need) -> None:
    images = pictures(4, seed=5)[0]
    before = [None if p.grad is None else p.grad.clone() for p in small.model.parameters()]
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            found = represent(small.network, images, needs)
        tensors = {f.name: getattr(found, f.name) for f in fields(found)}
        assert tensors["logits"] is not None
        for need, name in (
            (Need.FEATURES, "features"),
            (Need.GRADIENT, "gradient"),
            (Need.FEATURE_MAP, "feature_map"),
            (Need.IMAGES, "images"),
        ):
            assert (tensors[name] is not None) == (need in needs)
        for tensor in tensors.values():
            assert tensor is None or (tensor.grad_fn is None and not tensor.requires_grad)
        for parameter, grad in zip(small.model.parameters(), before, strict=True):
            assert grad is parameter.grad is None or torch.equal(grad, parameter.grad)
    torch.testing.assert_close(found.logits, small.model(images).detach(), rtol=1e-5, atol=1e-5)


def test_scores_of_files_are_those_of_pillows_pixels(
    small: World, some: Sequence[ImageFile]
) -> None:
    scorer = fitted(small)
    (batch,) = read_batches(some, scorer.preprocessing, len(some))
    ours = scorer.score(scorer.represent(batch.pixels), after=True)
    images = normal(some)
    truth = small.model(images).detach().double()
    assert torch.equal(ours.predicted, truth.argmax(1))
    torch.testing.assert_close(
        ours.confidence.double(), truth.softmax(1).amax(1), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(
        ours.outlier["energy"].double(), -truth.logsumexp(1), rtol=0, atol=1e-4
    )
    assert set(ours.outlier) == {d.name for d in scorer.detectors}
    assert set(ours.predicted_after) == {"gsc", "gsc-drop"}
    direct = represent(small.network, images, EVERYTHING)
    for detector in scorer.detectors:
        expected = detector.score(direct).float()
        torch.testing.assert_close(ours.outlier[detector.name], expected, rtol=1e-4, atol=1e-4)


class Memory(Network):
    """A network that has no room for more than `most` images, and counts those it computed."""

    most: int = 10**9
    seen: int = 0
    calls: int = 0

    @classmethod
    def like(cls, network: Network, most: int = 10**9) -> Self:
        copy = cls.__new__(cls)
        copy.__dict__.update(network.__dict__)
        copy.most = most
        return copy

    def body(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("no room")
        self.seen += len(images)
        self.calls += 1
        return super().body(images)


@pytest.mark.parametrize(("most", "pieces"), [(1, 9), (2, 8), (3, 4), (5, 2)])
def test_out_of_memory_halves_the_batch_and_changes_no_score(
    small: World, some: Sequence[ImageFile], most: int, pieces: int
) -> None:
    network = Memory.like(small.network, most)
    tight = Scorer(network, preprocessing(), fitted(small).detectors)
    pixels = pixels_of(some)[:9]
    truth = fitted(small).score(fitted(small).represent(pixels))
    same(tight.score(tight.represent(pixels)), truth)
    assert network.seen == 9 and network.calls == pieces
    tight.represent(pixels)  # what was learned is kept
    assert network.seen == 18 and network.calls == 2 * pieces


@dataclass(eq=False)
class Hungry(Energy):
    """Energy that goes back to the network, which has no room for more than two images."""

    name = "hungry"

    def score(self, batch: Representation) -> Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("no room")
        return super().score(batch)


def test_out_of_memory_in_a_detector_halves_the_batch_too(
    small: World, some: Sequence[ImageFile]
) -> None:
    """It is no fault of the detector: it stays in, and no score changes."""
    scorer = Scorer(small.network, preprocessing(), [Hungry(), *parse_detectors("energy,msp")])
    pixels = pixels_of(some)[:9]
    scores = scorer.score(scorer.represent(pixels), after=True)
    assert not scorer.excused and scorer.pieces == 8
    assert torch.equal(scores.outlier["hungry"], scores.outlier["energy"])
    assert len(scores.predicted) == 9
    truth = fitted(small, "msp").score(fitted(small, "msp").represent(pixels))
    same(Scores(scores.predicted, scores.confidence, {"msp": scores.outlier["msp"]}), truth)


def test_no_room_for_a_single_image_is_an_error(small: World, some: Sequence[ImageFile]) -> None:
    scorer = Scorer(Memory.like(small.network, 0), preprocessing(), parse_detectors("energy"))
    with pytest.raises(torch.OutOfMemoryError):
        scorer.represent(pixels_of(some)[:4])


@dataclass(eq=False)
class Moody(Detector):
    """Its score is no number on the images whose first logit is beyond `limit`."""

    limit: float = 0.0

    name: ClassVar[str] = "moody"
    title: ClassVar[str] = "Moody"
    about: ClassVar[str] = "Fails on some images."

    def score(self, batch: Representation) -> Tensor:
        first = batch.logits[:, 0]
        return torch.where(first > self.limit, torch.nan, first)

    def logits_after(self, batch: Representation) -> Tensor:
        return batch.logits.flip(1)


def test_a_detector_that_fails_midway_is_excused_and_the_others_go_on(
    small: World, some: Sequence[ImageFile]
) -> None:
    logits = small.model(normal(some)).detach()
    strange = Moody(limit=float(logits[:, 0].sort().values[-2:].mean()))  # one is too much
    scorer = fitted(small, DETECTORS, strange)
    parts = [scorer.score(scorer.represent(pixels_of([image])), after=True) for image in some]
    assert list(scorer.excused) == ["moody"]
    assert "number" in scorer.excused["moody"]
    worst = int(logits[:, 0].argmax())
    for i, part in enumerate(parts):
        assert ("moody" in part.outlier) == (i < worst)
    whole = Scores.cat(parts)
    same(whole, fitted(small).score(fitted(small).represent(pixels_of(some))), within=1e-4)
    assert set(whole.predicted_after) == {"gsc", "gsc-drop"}


# --- calibration ------------------------------------------------------------------------------


@dataclass(eq=False)
class Witness(Detector):
    """Keeps what it was fitted on; one of each kind is told apart by `needs`."""

    name: ClassVar[str] = "witness"
    title: ClassVar[str] = "Witness"
    about: ClassVar[str] = "Remembers."
    fitted_with: ClassVar[Fit] = Fit.IMAGES

    seen: Calibration | None = field(default=None, init=False)
    largest: int = field(default=0, init=False)

    def fit(self, calibration: Calibration) -> Self:
        self.seen = calibration
        return self

    def score(self, batch: Representation) -> Tensor:
        self.largest = max(self.largest, len(batch))
        return -batch.logits.amax(1)


@dataclass(eq=False)
class MapWitness(Witness):
    name: ClassVar[str] = "map-witness"
    needs: ClassVar[Need] = Need.LOGITS | Need.FEATURE_MAP


def test_each_calibration_image_goes_through_the_network_once(small: World, many: ImageSet) -> None:
    images = many.images[:50]
    network = Memory.like(small.network)
    scorer = Scorer(network, preprocessing(), parse_detectors("energy,gsc,react,knn:k=3"))
    steps: list[tuple[str, int, int]] = []
    done = calibrate(
        scorer, images, [0] * 50, seed=0, pace=pace(step=lambda *step: steps.append(step))
    )
    assert done.surrogates is not None
    made = len(done.surrogates.predicted)
    assert network.seen == 50 + made
    assert 44 <= made <= 50  # as many as the sample, but for the rest of a division
    assert sorted(image.name for image in done.images) == sorted(image.name for image in images)
    assert not done.broken and done.sample == 50
    assert ("scoring surrogate outliers", made, made) in steps
    assert ("calibrating", 50, 50) in steps


def test_fitted_on_a_bounded_sample_or_on_all(small: World, many: ImageSet) -> None:
    n = SAMPLE_IMAGES + 44
    images, labels = many.images[:n], [i % CLASSES for i in range(n)]
    network = Memory.like(small.network)
    maps, plain = MapWitness(), Witness()
    detectors = [*parse_detectors("energy,gsc,react"), maps, plain]
    scorer = Scorer(network, preprocessing(), detectors)
    done = calibrate(scorer, images, labels, seed=1, pace=pace(32))
    assert maps.seen is not None and plain.seen is not None and done.surrogates is not None
    assert len(maps.seen.logits) == len(maps.seen.sample) == SAMPLE_IMAGES
    assert len(plain.seen.logits) == n
    assert network.seen == n + len(done.surrogates.predicted)
    assert maps.largest <= 32 and plain.largest <= 32  # a sample is not one giant batch

    # row by row: images, labels, features and scores belong together
    label_of = dict(zip([image.name for image in images], labels, strict=True))
    assert plain.seen.labels.tolist() == [label_of[image.name] for image in done.images]
    assert maps.seen.labels.tolist() == plain.seen.labels.tolist()[:SAMPLE_IMAGES]
    truth = small.model(normal(done.images)).detach()
    torch.testing.assert_close(plain.seen.logits, truth, rtol=1e-4, atol=1e-4)
    assert torch.equal(done.scores.predicted, truth.argmax(1))
    assert set(done.scores.outlier) == {"energy", "gsc", "react", "map-witness", "witness"}
    energy = -truth.double().logsumexp(1)
    torch.testing.assert_close(done.scores.outlier["energy"].double(), energy, rtol=0, atol=1e-4)
    direct = represent(small.network, normal(done.images), EVERYTHING)
    for detector in (d for d in scorer.detectors if d.name != "react"):  # see test_held_out.py
        torch.testing.assert_close(
            done.scores.outlier[detector.name], detector.score(direct).float(), rtol=1e-3, atol=1e-4
        )


def test_large_maps_make_the_sample_small(
    small: World, many: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for map and gradient of 13 images, and of as many surrogates."""
    assert small.network.split is not None
    numbers = 1 + 2 * int(np.prod(small.network.split.shape))
    monkeypatch.setattr("gsc_core.scoring.calibration.SAMPLE_BYTES", 13 * 2 * 4 * numbers)
    for names, expected in (("energy,gsc", 13), ("energy,react", 40)):
        scorer = Scorer(small.network, preprocessing(), parse_detectors(names))
        done = calibrate(scorer, many.images[:40], [-1] * 40, seed=0, pace=pace(5))
        assert done.sample == expected and len(done.scores.predicted) == 40


def test_calibration_is_the_same_in_any_batch_size_and_differs_by_seed(
    small: World, many: ImageSet
) -> None:
    def run(seed: int, size: int) -> tuple[tuple[ImageFile, ...], Scores]:
        scorer = Scorer(small.network, preprocessing(), parse_detectors("energy,gsc"))
        done = calibrate(scorer, many.images[:40], [-1] * 40, seed=seed, pace=pace(size))
        return done.images, done.scores

    first, again, other = run(0, 7), run(0, 16), run(1, 16)
    assert first[0] == again[0] != other[0]
    same(first[1], again[1])


def test_broken_calibration_images_are_told(small: World, many: ImageSet, tmp_path: Path) -> None:
    files = broken_among(many.images[:30], tmp_path / "cut", [3, 4, 29])
    scorer = Scorer(small.network, preprocessing(), parse_detectors("energy,gsc"))
    done = calibrate(scorer, files, list(range(30)), seed=0, pace=pace())
    assert {one.name for one in done.broken} == {"cut-3.bmp", "cut-4.bmp", "cut-29.bmp"}
    assert len(done.images) == len(done.scores.predicted) == 27

    all_of_them = broken_among(many.images[:5], tmp_path / "all", range(5))
    with pytest.raises(ImageError, match="None of the calibration images"):
        calibrate(scorer, all_of_them, [0] * 5, seed=0, pace=pace())


@pytest.mark.slow
def test_surrogates_that_want_memory_are_left_out_and_the_others_stay_what_they_are(
    small: World, many: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of those that need a spectrum: after the first, one of each kind in turn is lost."""
    back = torch.fft.irfft2

    def scarce(spectrum: Tensor, **options: object) -> Tensor:
        if round(float(spectrum[0, 0, 0].real)) % 3 == 0:  # the sum of the red pixels
            raise MemoryError
        return back(spectrum, **options)

    monkeypatch.setattr(torch.fft, "irfft2", scarce)
    with_phase = KINDS[:4]
    monkeypatch.setattr("gsc_core.scoring.calibration.SURROGATES", with_phase)
    scorer = Scorer(small.network, preprocessing(), parse_detectors("auto-ensemble"))
    done = calibrate(scorer, many.images[:120], [-1] * 120, seed=0, pace=pace(7))
    assert done.calibration is not None and done.calibration.surrogates is not None

    sources = ImageSet("calibration", done.images[: 120 // len(with_phase)])
    kinds, made = [], []
    for _, kind, make in surrogate_makers(sources, with_phase, seed=0):
        with suppress(MemoryError):
            made.append(make())
            kinds.append([one.name for one in KINDS].index(kind))
    numbers = Counter(kinds)
    assert 5 < numbers.pop(2) < 25 and set(numbers.values()) == {30}
    found = done.calibration.surrogates
    assert found.kinds.tolist() == kinds
    with torch.no_grad():
        truth = small.model((torch.stack(made).double() / 255 * 3 - 0.5).float())
    torch.testing.assert_close(found.logits, truth, rtol=1e-4, atol=1e-4)

    (auto,) = (each for each in scorer.detectors if isinstance(each, AutoGSC))
    assert auto.selection_ is not None and auto.fusion_ is not None
    readings = (
        read(each, auto.cut_, auto.read_out_, judging=True)
        for each in (found, done.calibration.sample)
    )
    columns = auto.read_out_.columns(auto.selection_.chosen.capped, judging=True)
    theirs, ours = readings
    scale = Scale.of(ours)
    theirs, ours = scale.mean(theirs, columns), scale.mean(ours, columns)
    for at, (name, told) in enumerate(auto.selection_.chosen.by_kind.items()):
        assert name == KINDS[at].name
        of_kind = theirs[torch.tensor(kinds) == at]
        assert tuple(told) == pytest.approx(separation(ours, of_kind), abs=1e-6)


def test_too_few_calibration_images_excuse_the_detectors_that_learn(
    small: World, many: ImageSet
) -> None:
    scorer = Scorer(small.network, preprocessing(), parse_detectors("energy,gsc,gsc-drop"))
    done = calibrate(scorer, many.images[:1], [0], seed=0, pace=pace())
    assert done.surrogates is None
    assert list(scorer.excused) == ["gsc"]
    assert set(done.scores.outlier) == {"energy", "gsc-drop"}


# --- chunks -----------------------------------------------------------------------------------


def finish(
    scorer: Scorer, images: ImageSet, folder: Path, step: Callable[[str, int, int], None] | None
) -> pa.Table:
    """Score a set into a store, from where that stopped, and join its chunks."""
    store = ChunkStore(folder / "chunks", "key")
    score_set(scorer, images, labels_of(images), store, pace(step=step))
    table = join([part for part, _ in store.tables("id")], folder / "scores.parquet")
    store.remove()
    return table


def labels_of(images: ImageSet) -> dict[str, int]:
    return {image.sha256: i % CLASSES for i, image in enumerate(images.images)}


@pytest.fixture(scope="module")
def uninterrupted(
    small: World, many: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> pa.Table:
    return finish(fitted(small), many, tmp_path_factory.mktemp("whole"), None)


def parts_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.mark.slow
def test_a_finished_table_has_one_right_row_an_image(
    small: World, many: ImageSet, uninterrupted: pa.Table
) -> None:
    assert uninterrupted["file"].to_pylist() == [image.name for image in many.images]
    assert uninterrupted["sha256"].to_pylist() == [image.sha256 for image in many.images]
    assert set(uninterrupted["set"].to_pylist()) == set(uninterrupted["role"].to_pylist()) == {"id"}
    assert uninterrupted["label"].to_pylist() == [i % CLASSES for i in range(MANY)]
    truth = small.model(normal(many.images)).detach()
    assert uninterrupted["predicted"].to_pylist() == truth.argmax(1).tolist()
    energy = -truth.double().logsumexp(1).numpy()
    np.testing.assert_allclose(uninterrupted["energy"].to_numpy(), energy, atol=1e-4)
    columns = [c for c in uninterrupted.column_names if c.startswith(PREDICTED_AFTER)]
    assert columns == [PREDICTED_AFTER + "gsc", PREDICTED_AFTER + "gsc-drop"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 100, 512, 4096])
def test_any_batch_size_fills_chunks_whole(
    small: World, many: ImageSet, tmp_path: Path, size: int
) -> None:
    """Chunks always end at the same images, and no progress step goes back or beyond."""
    images = ImageSet("faraway", many.images[: CHUNK_IMAGES + 9])
    store = ChunkStore(tmp_path / "chunks", "key")
    steps: list[tuple[str, int, int]] = []
    score_set(
        fitted(small, "energy"),
        images,
        {},
        store,
        pace(size, step=lambda *step: steps.append(step)),
    )
    lengths = [table.num_rows for table, _ in store.tables("faraway")]
    assert lengths == [CHUNK_IMAGES, 9]
    counts = [done for _, done, _ in steps]
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == len(images)
    assert {(phase, total) for phase, _, total in steps} == {("scoring faraway", len(images))}
    table = next(store.tables("faraway"))[0]
    assert set(table["role"].to_pylist()) == {"ood"} and set(table["label"].to_pylist()) == {-1}


class StopError(Exception):
    pass


def stop_at(images: int) -> Callable[[str, int, int], None]:
    def step(_: str, done: int, __: int) -> None:
        if done >= images:
            raise StopError

    return step


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 40, CHUNK_IMAGES, CHUNK_IMAGES + 200, MANY])
def test_a_stopped_run_goes_on_and_ends_in_the_same_table(
    small: World, many: ImageSet, tmp_path: Path, uninterrupted: pa.Table, at: int
) -> None:
    with pytest.raises(StopError):
        finish(fitted(small), many, tmp_path, stop_at(at))
    # a chunk is written after its last step was told
    kept = max(0, at - 1) // CHUNK_IMAGES
    assert not parts_below(tmp_path)
    assert len(list((tmp_path / "chunks").glob("*.parquet"))) == kept
    assert not (tmp_path / "scores.parquet").exists()

    scorer = fitted(small)
    table = finish(scorer, many, tmp_path, None)
    assert isinstance(scorer.preprocessing, Counting)
    assert scorer.preprocessing.made == MANY - kept * CHUNK_IMAGES
    assert table.equals(uninterrupted)
    assert pq.read_table(tmp_path / "scores.parquet").equals(uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


# The child tells each step and waits to be let on, so that it can be killed at a known place.
SCORE_IN_STEPS = """
import sys
from pathlib import Path
from test_scoring import *
folder, images = Path(sys.argv[1]), read_folder(Path(sys.argv[2]), "id")
def step(phase, done, total):
    print(done, flush=True)
    if not sys.stdin.readline():
        raise SystemExit
finish(fitted(world()), images, folder, step)
"""


def child(source: str, *args: object, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, args)],
        env={**os.environ, "PYTHONPATH": WITH_THIS_FILE},
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.slow
def test_a_process_killed_in_the_middle_is_continued(
    small: World, many: ImageSet, tmp_path: Path, uninterrupted: pa.Table
) -> None:
    with child(SCORE_IN_STEPS, tmp_path, many.images[0].path.parent, stdin=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdin is not None
        for line in run.stdout:
            if int(line) >= CHUNK_IMAGES + 100:
                break
            run.stdin.write("on\n")
            run.stdin.flush()
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "chunks").glob("*.parquet")]
    assert not (tmp_path / "scores.parquet").exists()

    scorer = fitted(small)
    table = finish(scorer, many, tmp_path, None)
    assert isinstance(scorer.preprocessing, Counting)
    assert scorer.preprocessing.made == MANY - CHUNK_IMAGES
    assert table.equals(uninterrupted)
    assert pq.read_table(tmp_path / "scores.parquet").equals(uninterrupted)
    assert not parts_below(tmp_path)


def rows(n: int, name: str = "id", columns: Sequence[str] = ("energy",)) -> Rows:
    images = [ImageFile(Path(f"{i}.png"), f"{i}.png", f"{i:064}") for i in range(n)]
    outlier = {column: torch.arange(n).float() for column in columns}
    after = {column: torch.arange(n) for column in columns if column == "gsc"}
    scores = Scores(torch.arange(n), torch.ones(n), outlier, after)
    return Rows(name, "id", images, [0] * n, scores)


def test_chunks_of_another_key_are_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "chunks"
    ChunkStore(folder, "one").write("id", 0, rows(3).table(()))
    assert ChunkStore(folder, "one").missing("id", 2) == [1]
    assert ChunkStore(folder, "two").missing("id", 2) == [0, 1]
    assert ChunkStore(folder, "one").missing("id", 2) == [0, 1]
    (folder / "key").unlink()
    ChunkStore(folder, "one").write("id", 0, rows(3).table(()))
    (folder / "key").unlink()  # nobody knows what these belong to
    assert ChunkStore(folder, "one").missing("id", 2) == [0, 1]


def test_each_chunk_that_is_there_counts_and_sets_are_apart(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path / "chunks", "key")
    names = ["id", "id-000000", "../x", "ä/ö", "a" * 60]
    for name in names:
        for index in (0, 1, 3):  # 2 is missing
            store.write(name, index, rows(2, name).table(()))
    for name in names:
        assert store.missing(name, 5) == [2, 4]
        assert [set(table["set"].to_pylist()) for table, _ in store.tables(name)] == [{name}] * 3
    assert store.missing("nothing", 2) == [0, 1]
    assert {path.parent for path in tmp_path.rglob("*.parquet")} == {tmp_path / "chunks"}


def test_broken_pictures_are_kept_with_their_chunk(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    files = broken_among(many.images[:12], tmp_path / "cut", [2, 11])
    images = ImageSet("id", tuple(files))
    store = ChunkStore(tmp_path / "chunks", "key")
    score_set(fitted(small), images, {}, store, pace())
    ((table, broken),) = store.tables("id")
    assert table.num_rows == 10
    assert [one.name for one in broken] == ["cut-2.bmp", "cut-11.bmp"]
    assert not table.schema.metadata

    only_broken = ImageSet("all", tuple(broken_among(many.images[:3], tmp_path / "b", range(3))))
    score_set(fitted(small), only_broken, {}, store, pace())
    ((table, broken),) = store.tables("all")
    assert table.num_rows == 0 and len(broken) == 3


def test_joining_leaves_out_a_detector_excused_on_the_way(tmp_path: Path) -> None:
    early = rows(3, columns=("energy", "gsc", "react")).table(())
    late = rows(4, columns=("energy", "react")).table(())
    nothing = rows(0, columns=()).table(())
    joined = join([early, nothing, late], tmp_path / "scores.parquet")
    assert "gsc" not in joined.column_names and PREDICTED_AFTER + "gsc" not in joined.column_names
    assert joined["energy"].to_pylist() == joined["react"].to_pylist() == [0, 1, 2, 0, 1, 2, 3]
    assert pq.read_table(tmp_path / "scores.parquet").equals(joined)


def test_joining_fills_what_only_id_pictures_have(tmp_path: Path) -> None:
    known = rows(2, columns=("energy", "gsc")).table(())
    strange = (
        rows(2, "far", columns=("energy", "gsc")).table(()).drop_columns(PREDICTED_AFTER + "gsc")
    )
    joined = join([known, strange], tmp_path / "scores.parquet")
    assert joined[PREDICTED_AFTER + "gsc"].to_pylist() == [0, 1, None, None]


@pytest.mark.slow
def test_a_detector_excused_midway_does_not_stop_the_set(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    logits = small.model(normal(many.images)).detach()[:, 0]
    files = list(many.images)
    files.insert(CHUNK_IMAGES + 10, files.pop(int(logits.argmax())))  # late in the second chunk
    images = ImageSet("id", tuple(files))
    scorer = fitted(small, DETECTORS, Moody(limit=float(logits.sort().values[-2])))
    table = finish(scorer, images, tmp_path / "moody", None)
    assert list(scorer.excused) == ["moody"]
    truth = finish(fitted(small), images, tmp_path / "plain", None)
    assert table.num_rows == MANY and table.equals(truth)


@pytest.mark.slow
def test_a_detector_excused_before_a_stop_stays_excused_after_it(
    small: World, many: ImageSet, tmp_path: Path
) -> None:
    logits = small.model(normal(many.images)).detach()[:, 0]
    files = list(many.images)
    files.insert(0, files.pop(int(logits.argmax())))  # what fails is in the finished chunk
    images, limit = ImageSet("id", tuple(files)), float(logits.sort().values[-2])
    with pytest.raises(StopError):
        finish(fitted(small, "energy", Moody(limit)), images, tmp_path, stop_at(CHUNK_IMAGES + 1))
    scorer = fitted(small, "energy", Moody(limit))
    table = finish(scorer, images, tmp_path, None)
    assert list(scorer.excused) == ["moody"] and [d.name for d in scorer.detectors] == ["energy"]
    assert "moody" not in table.column_names and table.num_rows == MANY


# --- the disk ---------------------------------------------------------------------------------


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    with written_aside(path) as part:
        part.write_text("first")
        assert not path.exists()
    with pytest.raises(StopError), written_aside(path) as part:
        part.write_text("half")
        raise StopError
    assert path.read_text() == "first"
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("where", ["file/chunks", "file"])
def test_where_no_folder_can_be_is_said_in_one_sentence(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SpecError, match="cannot be written") as caught:
        ChunkStore(tmp_path / where, "key")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


FILL_A_REAL_DISK = """
set -e
mount -t tmpfs -o size=400k none "$1"
exec "$2" - "$1" <<'PYTHON'
import sys
from pathlib import Path
from test_scoring import *
store = ChunkStore(Path(sys.argv[1]) / "chunks", "key")
store.write("id", 0, rows(512).table(()))
try:
    for index in range(1, 100):
        store.write("id", index, rows(512, columns=[f"d{i}" for i in range(10)]).table(()))
except SpecError as error:
    print(error)
try:
    join([rows(20_000, columns=[f"d{i}" for i in range(20)]).table(())], Path(sys.argv[1]) / "s")
except SpecError as error:
    print(error)
print(store.missing("id", 100)[0] == index, len(list(store.tables("id"))) == index, index > 1)
print([path.name for path in Path(sys.argv[1]).rglob("*") if path.suffix not in (".parquet", "")])
PYTHON
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_no_half_written_file(tmp_path: Path) -> None:
    """On a real file system of 400 kB, in a mount namespace of its own."""
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path]
    if (
        not shutil.which("unshare")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("no small disk to fill: mounting in a namespace is not allowed here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FILL_A_REAL_DISK, "sh", tmp_path, sys.executable],
        env={**os.environ, "PYTHONPATH": WITH_THIS_FILE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, full_again, whole, left = done.stdout.splitlines()
    assert full.startswith("The disk is full") and full.endswith(".")
    assert full_again.startswith("The disk is full")
    assert whole == "True True True"
    assert left == "[]"


# --- memory -----------------------------------------------------------------------------------

# Images of 224 pixels are 150 kB each: 500 kept would show.
MEASURE = """
import json, sys
from pathlib import Path
from test_scoring import *
folder = Path(sys.argv[1])
photo = folder / "photo.jpg"
noise = np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8)
Image.fromarray(noise).resize((224, 224)).save(photo)
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 16, stride=8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(), torch.nn.Linear(8, 4),
).eval()
shapes = ({0: torch.export.Dim("batch")},)
program = torch.export.export(model, (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
scorer = Scorer(Network(program), Preprocessing(), parse_detectors("energy,gsc-drop"))
files = [ImageFile(photo, f"{i}.jpg", f"{i:064}") for i in range(600)]
calibrate(scorer, files[:20], [0] * 20, seed=0, pace=pace())
peaks = []
for n in (100, 600):
    store = ChunkStore(folder / "chunks", str(n))
    score_set(scorer, ImageSet("id", tuple(files[:n])), {}, store, pace())
    assert sum(table.num_rows for table, _ in store.tables("id")) == n
    # not getrusage: a child's maximum there starts at its parent's
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peaks.append(int(status["VmHWM"].split()[0]) / 1024)
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    with child(MEASURE, tmp_path) as run:
        output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0
    few, more = json.loads(output)
    assert more - few < 60  # MB; kept as bytes alone, 500 images would take 75
