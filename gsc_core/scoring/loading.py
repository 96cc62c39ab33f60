"""Image files to batches of pixels, decoded ahead while the network computes."""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.images import Broken, ImageFile
from gsc_core.log import Step
from gsc_core.scoring.decoder import SharedPixels, prepared
from gsc_core.scoring.decoders import Bundle, Decoders
from gsc_core.stopwatch import Stopwatch

T = TypeVar("T")
R = TypeVar("R")


DECODING = "waiting for decoded images"

_BUNDLE_IMAGES = 16  # decoded in one go: so many make asking a process cheap


@dataclass(frozen=True)
class Pace:
    """How images are taken: so many at a time, with `step` told, which may raise to stop.

    They are decoded by `decoders`; without these by so many `threads`, started for each set.
    `watch` counts where the time goes.
    """

    batch_size: int
    threads: int
    step: Step
    decoders: Decoders | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True)
class Batch:
    """Some images of a set: those that could be decoded, and those that could not.

    `pixels [B,3,H,W]` is uint8, resized and cropped; it belongs to `images`, in their order.
    """

    images: tuple[ImageFile, ...]
    pixels: Tensor
    broken: tuple[Broken, ...]


def ahead(work: Callable[[T], R], items: Iterable[T], threads: int, depth: int) -> Iterator[R]:
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
    images: Sequence[ImageFile],
    preprocessing: Preprocessing,
    size: int,
    threads: int = 2,
    decoders: Decoders | None = None,
) -> Iterator[Batch]:
    """Batches of `size` images in order; an image that cannot be decoded is told, not raised.

    They are decoded by `decoders`, which are there for a whole audit, or by `threads` of their own.
    """
    prepare = functools.partial(prepared, preprocessing)
    shape = preprocessing.shape
    bundle_size = max(1, min(_BUNDLE_IMAGES, size // 2, SharedPixels.room(shape)))
    with nullcontext(decoders) if decoders else Decoders(threads, most=0) as decoding:
        starts = iter(range(0, len(images), size))
        begun: deque[_Begun] = deque()

        def begin_more() -> None:
            # two batches, or as many as give each decoder a bundle and the next
            depth = max(2, math.ceil(2 * decoding.width * bundle_size / size))
            for start in islice(starts, max(0, depth - len(begun))):
                files = images[start : start + size]
                pixels = torch.empty(
                    (len(files), *shape), dtype=torch.uint8, pin_memory=decoding.pinned
                )
                parts = [slice(at, at + bundle_size) for at in range(0, len(files), bundle_size)]
                bundles = [Bundle(prepare, files[part], pixels[part]) for part in parts]
                begun.append(_Begun(files, pixels, bundles))
                for bundle in bundles:
                    decoding.submit(bundle)

        begin_more()
        waited: Callable[[float], None] = _nothing_was_ahead
        try:
            while begun:
                batch = begun.popleft().batch(waited)
                waited = decoding.waited
                begin_more()
                yield batch
        finally:
            for waiting in begun:
                waiting.cancel()


@dataclass(frozen=True)
class _Begun:
    """A batch whose bundles are being decoded."""

    images: Sequence[ImageFile]
    pixels: Tensor
    bundles: Sequence[Bundle]

    def batch(self, waited: Callable[[float], None]) -> Batch:
        """Wait for the bundles; `waited` is told for how long, where one was not there yet."""
        for bundle in self.bundles:
            if not bundle.reasons.done():
                start = time.perf_counter()
                bundle.reasons.exception()
                waited(time.perf_counter() - start)
        reasons = [reason for bundle in self.bundles for reason in bundle.reasons.result()]
        pairs = list(zip(self.images, reasons, strict=True))
        good = [at for at, reason in enumerate(reasons) if reason is None]
        whole = len(good) == len(reasons)
        return Batch(
            images=tuple(self.images[at] for at in good),
            pixels=self.pixels if whole else self.pixels[good],
            broken=tuple(Broken(image.name, why) for image, why in pairs if why is not None),
        )

    def cancel(self) -> None:
        """Leave undecoded what nobody has begun with."""
        for bundle in self.bundles:
            bundle.reasons.cancel()


def _nothing_was_ahead(_: float) -> None:
    """The first batch is always waited for."""
