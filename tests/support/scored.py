"""Images of the small classifier as files, detectors fitted for it, and scripts with them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from places import IMPORTABLE
from pydantic import PrivateAttr
from small_classifier import CLASSES, World
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Detector, Representation
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.images import ImageFile, ImageSet, read_folder
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore, join
from gsc_core.scoring.loading import Pace
from gsc_core.scoring.local import score_set
from gsc_core.scoring.scorer import Scorer, Scores

MEAN, STD = (0.5 / 3,) * 3, (1 / 3,) * 3
MANY = 2 * CHUNK_IMAGES + 76  # three chunks, the last one short
DETECTORS = "energy,gsc,gsc-drop,react"


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


def parts_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


class StopError(Exception):
    pass


def stop_at(images: int) -> Callable[[str, int, int], None]:
    def step(_: str, done: int, __: int) -> None:
        if done >= images:
            raise StopError

    return step


def child(source: str, *args: object, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, args)],
        env={**os.environ, "PYTHONPATH": IMPORTABLE},
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


def broken_among(some: Sequence[ImageFile], folder: Path, at: Sequence[int]) -> list[ImageFile]:
    """The images, some of them cut off in the middle of their pixels."""
    folder.mkdir()
    files = list(some)
    for i in at:
        path = folder / f"cut-{i}.bmp"
        path.write_bytes(files[i].path.read_bytes()[:200])
        files[i] = ImageFile(path, path.name, f"{i:064}")
    return files
