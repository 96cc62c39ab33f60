"""Preprocessing against torchvision's own preset and timm's own transform."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from timm.data import create_transform
from torchvision.models import (
    ResNet50_Weights,
    Swin_T_Weights,
    ViT_B_16_Weights,
    WeightsEnum,
)
from torchvision.transforms.v2 import functional

from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsc_core.errors import ImageError, SpecError


def picture(height: int, width: int) -> torch.Tensor:
    """Smooth structure with some noise, uint8 `[3,H,W]`."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    noise = 0.05 * torch.randn(3, height, width, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8)


def prepared(preprocessing: Preprocessing, image: torch.Tensor) -> torch.Tensor:
    return preprocessing.normalise(preprocessing.resize_crop(image)[None])[0]


def levels(ours: Preprocessing, image: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Differences in the 0..255 levels of the images."""
    std = torch.tensor(ours.std).view(3, 1, 1)
    return (prepared(ours, image) - theirs).abs() * std * 255


def as_pil(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "weights",
    [
        ResNet50_Weights.IMAGENET1K_V1,
        ResNet50_Weights.IMAGENET1K_V2,
        ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1,
        Swin_T_Weights.IMAGENET1K_V1,
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(300, 400), (500, 333), (100, 90)])
def test_same_as_torchvision_up_to_rounding(weights: WeightsEnum, shape: tuple[int, int]) -> None:
    """Against torchvision's preset on a PIL image, as its accuracies were measured."""
    image = picture(*shape)
    preset = weights.transforms()
    ours = Preprocessing.from_torchvision(preset)
    assert ours.source == "library"
    difference = levels(ours, image, preset(as_pil(image)))
    assert difference.max() <= 2.01
    assert difference.mean() < 0.02


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_same_as_timm_up_to_rounding(name: str) -> None:
    config = timm.get_pretrained_cfg(name).to_dict()
    image = picture(375, 500)
    theirs = create_transform(
        input_size=config["input_size"],
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        crop_pct=config["crop_pct"],
    )(as_pil(image))
    difference = levels(Preprocessing.from_timm(config), image, theirs)
    assert difference.max() <= 2.01
    assert difference.mean() < 0.02


def test_timm_models_that_are_not_cropped_are_refused() -> None:
    config = timm.get_pretrained_cfg("resnet18").to_dict() | {"crop_mode": "squash"}
    with pytest.raises(SpecError, match="squash"):
        Preprocessing.from_timm(config)


def test_parse() -> None:
    text = "resize=256,crop=224,interpolation=bicubic,mean=0.498039,std=0.501961"
    assert Preprocessing.parse(text) == Preprocessing(
        resize=256,
        crop=(224, 224),
        interpolation="bicubic",
        mean=(0.498039,) * 3,
        std=(0.501961,) * 3,
    )
    assert Preprocessing.parse(" crop=10x20 , resize=none, mean=0/0.5/1") == Preprocessing(
        crop=(10, 20), resize=None, mean=(0, 0.5, 1)
    )


@given(
    resize=st.none() | st.integers(1, 4096),
    crop=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    mean=st.tuples(*[st.floats(-10, 10)] * 3),
    std=st.tuples(*[st.floats(1e-3, 10)] * 3),
)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(
    resize: int | None,
    crop: tuple[int, int],
    interpolation: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    text = (
        f"resize={'none' if resize is None else resize},crop={crop[0]}x{crop[1]},"
        f"interpolation={interpolation},mean={'/'.join(map(repr, mean))},"
        f"std={'/'.join(map(repr, std))}"
    )
    read = Preprocessing.parse(text)
    assert (read.resize, read.crop, read.interpolation) == (resize, crop, interpolation)
    assert (read.mean, read.std) == (mean, std)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size=3", "resize, crop, interpolation, mean, std"),
        ("source=library", "resize, crop"),
        ("crop", "HEIGHTxWIDTH"),
        ("crop=1,crop=2", "at most once"),
        ("crop=0", "1 to 4096"),
        ("crop=99999", "1 to 4096"),
        ("crop=1x2x3", "HEIGHTxWIDTH"),
        ("resize=1.5", "none"),
        ("interpolation=lanczos", "nearest, bilinear, bicubic"),
        ("mean=1/2", "three separated by /"),
        ("mean=nan", "three separated by /"),
        ("std=0", "above 0"),
        ("std=inf", "above 0"),
    ],
)
def test_what_is_wrong_is_said_with_the_choices(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Preprocessing.parse(text)


def test_assumed_is_named_as_such() -> None:
    assumed = Preprocessing.assumed()
    assert (assumed.source, assumed.resize, assumed.crop) == ("assumed", 256, (224, 224))
    assert (assumed.mean, assumed.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert Preprocessing().source == "given"


def test_small_pictures_are_padded_black_around_the_middle() -> None:
    white = torch.full((3, 4, 6), 255, dtype=torch.uint8)
    out = Preprocessing(resize=None, crop=(8, 4)).resize_crop(white)
    assert out.shape == (3, 8, 4)
    assert out.dtype == torch.uint8
    assert (out[:, 2:6] == 255).all()
    assert (out[:, :2] == 0).all()
    assert (out[:, 6:] == 0).all()


@pytest.mark.parametrize("size", [(8, 1_000_000), (1_000_000, 8)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_thin_image_is_refused_before_its_resize_takes_gigabytes(
    size: tuple[int, int], interpolation: str
) -> None:
    preprocessing = Preprocessing(resize=256, crop=224, interpolation=interpolation)
    with pytest.raises(ImageError, match="would make the longer one 32000000") as told:
        preprocessing.resize_crop(torch.zeros((3, *size), dtype=torch.uint8))
    assert f"{size[1]} × {size[0]} pixels" in str(told.value)


def test_what_the_resize_may_make_is_bounded_at_80_million_pixels() -> None:
    preprocessing = Preprocessing(resize=80, crop=8)
    thin = torch.zeros((1, 1, 12_500), dtype=torch.uint8)
    assert preprocessing.resize_crop(thin.expand(3, -1, -1)).shape == (3, 8, 8)
    with pytest.raises(ImageError):
        preprocessing.resize_crop(torch.zeros((3, 1, 12_501), dtype=torch.uint8))
    # what is not resized makes nothing larger
    long = torch.zeros((3, 8, 1_000_000), dtype=torch.uint8)
    assert Preprocessing(resize=None, crop=8).resize_crop(long).shape == (3, 8, 8)


def test_normalise_is_the_textbook_formula() -> None:
    batch = torch.randint(0, 256, (4, 3, 5, 7), dtype=torch.uint8)
    kept = batch.clone()
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    expected = functional.normalize(
        functional.to_dtype(batch, torch.float64, scale=True), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    )
    out = preprocessing.normalise(batch)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(batch, kept)


def test_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        Preprocessing(colour="grey")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Preprocessing().crop = (1, 1)
