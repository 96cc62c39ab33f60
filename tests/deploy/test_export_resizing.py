"""Resizing and cropping as an exported detector does it, pixel for pixel, at any size."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.deploy.program import ResizeCrop

pytestmark = pytest.mark.slow

SHAPES = [(8, 8), (12, 12), (12, 60), (60, 12), (13, 9), (31, 31), (301, 470), (640, 41)]


@cache
def resizing(preprocessing: Preprocessing) -> Callable[[Tensor], Tensor]:
    """The step as it is saved, with free sizes."""
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    images = torch.zeros(13, 3, 67, 71, dtype=torch.uint8)
    return torch.export.export(
        ResizeCrop(preprocessing), (images,), dynamic_shapes=(free,), strict=False
    ).module(check_guards=False)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("resize", "mode"),
    [
        (None, "center"),
        (12, "center"),
        (31, "center"),
        ((18, 31), "center"),
        ((18, 31), "squash"),
        ((18, 31), "border"),
        (20, "border"),
    ],
)
@pytest.mark.parametrize("crop", [(12, 12), (21, 14)])
def test_any_picture_is_resized_and_cropped_pixel_for_pixel(
    interpolation: str, resize: object, mode: str, crop: tuple[int, int]
) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "crop_mode": mode, "crop": crop, "interpolation": interpolation}
    )
    resized = resizing(preprocessing)

    def check(height: int, width: int) -> None:
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        assert torch.equal(resized(image[None])[0], preprocessing.resize_crop(image))

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.integers(8, 150), st.integers(8, 150))
    def at_any_size(height: int, width: int) -> None:
        check(height, width)

    for height, width in SHAPES:
        check(height, width)
    at_any_size()


def test_a_picture_in_the_layout_of_the_example_is_resized_pixel_for_pixel() -> None:
    preprocessing = Preprocessing.model_validate({"resize": 31, "crop": (21, 24)})
    lines = torch.randint(0, 256, (1, 97, 143, 3), dtype=torch.uint8)
    image = lines.permute(0, 3, 1, 2)
    right = preprocessing.resize_crop(image[0].contiguous())
    assert torch.equal(resizing(preprocessing)(image)[0], right)
