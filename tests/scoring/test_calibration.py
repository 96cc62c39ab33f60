"""Calibration on files: each image once, a bounded sample, and surrogates."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
import torch
from scored import Memory, broken_among, normal, pace, preprocessing, same
from small_classifier import CLASSES, EVERYTHING, World
from torch import Tensor

from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.base import Calibration, Detector, Fit, Need, Representation
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.detectors.readout import Scale
from gsc_core.detectors.selection import read
from gsc_core.detectors.selection_loss import separation
from gsc_core.errors import ImageError
from gsc_core.images import ImageFile, ImageSet
from gsc_core.images.surrogates import KINDS, surrogate_makers
from gsc_core.scoring.calibration import SAMPLE_IMAGES, calibrate
from gsc_core.scoring.onepass import represent
from gsc_core.scoring.scorer import Scorer, Scores


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
