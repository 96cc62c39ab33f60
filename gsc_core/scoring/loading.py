"""Picture files to batches of pixels, decoded ahead on threads while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.errors import ImageError
from gsc_core.images import Broken, ImageFile, decode
from gsc_core.log import Step
from gsc_core.stopwatch import Stopwatch

T = TypeVar("T")
R = TypeVar("R")


DECODING = "waiting for decoded images"


@dataclass(frozen=True)
class Pace:
    """How images are taken: so many at a time, decoded by so many threads.

    `step` is told after every batch, and may raise to stop. `watch` counts where the time goes.
    """

    batch_size: int
    threads: int
    step: Step
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True)
class Batch:
    """Some images of a set: those that could be decoded, and those that could not.

    `pixels [B,3,H,W]` is uint8, resized and cropped; it belongs to `images`, in their order.
    """

    images: tuple[ImageFile, ...]
    pixels: Tensor
    broken: tuple[Broken, ...]


def ahead(work: Callable[[T], R], items: Sequence[T], threads: int, depth: int) -> Iterator[R]:
    """`map(work, items)` on threads, in order, never more than `depth` results in advance."""
    with ThreadPoolExecutor(threads) as pool:
        rest = iter(items)
        waiting: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(rest, depth))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def read_batches(
    images: Sequence[ImageFile], preprocessing: Preprocessing, size: int, threads: int = 2
) -> Iterator[Batch]:
    """Batches of `size` images in order; a picture that cannot be decoded is told, not raised."""

    def read(image: ImageFile) -> Tensor | Broken:
        try:
            return preprocessing.resize_crop(decode(image.path))
        except ImageError as error:
            return Broken(image.name, str(error))

    read_ahead = ahead(read, images, threads, depth=2 * size)
    for chunk in _chunks(zip(images, read_ahead, strict=True), size):
        good = [(image, pixels) for image, pixels in chunk if isinstance(pixels, Tensor)]
        yield Batch(
            images=tuple(image for image, _ in good),
            pixels=torch.stack([pixels for _, pixels in good]) if good else torch.empty(0),
            broken=tuple(result for _, result in chunk if isinstance(result, Broken)),
        )


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk
