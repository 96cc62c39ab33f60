"""Files to batches: order, broken images, and how far ahead they are decoded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from browser import PATIENCE
from scored import Counting, broken_among, pixels_of, preprocessing
from torch import Tensor

from gsc_core.images import ImageFile, ImageSet
from gsc_core.scoring.loading import ahead, read_batches


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
