"""Preprocessing against torchvision's own preset and timm's own transform."""

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydantic import ValidationError
from timm.data import create_transform, resolve_data_config
from timm.data.transforms import ResizeKeepRatio
from torchvision import transforms
from torchvision.models import (
    ResNet50_Weights,
    Swin_T_Weights,
    ViT_B_16_Weights,
    WeightsEnum,
)
from torchvision.transforms.v2 import functional

from gsc_core.classifier.preparation import preparation
from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsc_core.classifier.resizing import resized_size
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


FITTED_BY_TIMM = [
    {"crop_mode": "squash", "crop_pct": 1.0},
    {"crop_mode": "squash", "crop_pct": 0.9},
    {"crop_mode": "squash", "crop_pct": 1.0, "input_size": (3, 96, 64)},
    {"crop_mode": "border", "crop_pct": 1.0},
    {"crop_mode": "border", "crop_pct": 0.875},
    {"crop_mode": "border", "crop_pct": 1.0, "input_size": (3, 64, 96)},
    {"crop_mode": "center", "input_size": (3, 64, 96)},
    {"crop_pct": None, "crop_mode": None, "interpolation": None},
]


@pytest.mark.parametrize("changed", FITTED_BY_TIMM, ids=str)
@pytest.mark.parametrize("shape", [(375, 500), (331, 147), (90, 100), (430, 640)])
def test_every_crop_mode_of_timm_is_its_own_transform(
    changed: dict[str, object], shape: tuple[int, int]
) -> None:
    config = timm.get_pretrained_cfg("resnet18").to_dict() | changed
    image = picture(*shape)
    theirs = create_transform(**resolve_data_config({}, pretrained_cfg=config))(as_pil(image))
    ours = Preprocessing.from_timm(config)
    assert ours.source == "library"
    difference = levels(ours, image, theirs)
    assert difference.max() <= 3.01  # Pillow rounds between the two directions
    assert difference.mean() < 0.3


def test_models_that_timm_evaluates_in_other_ways_are_refused() -> None:
    config = timm.get_pretrained_cfg("resnet18").to_dict()
    for other in ({"crop_mode": "naflex"}, {"interpolation": "lanczos"}):
        with pytest.raises(SpecError, match=next(iter(other.values()))):
            Preprocessing.from_timm(config | other)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(300, 400), (500, 333), (60, 90)])
def test_a_fixed_size_is_what_torchvision_makes_of_two_numbers(
    interpolation: str, shape: tuple[int, int]
) -> None:
    """The tutorials' `Resize((224, 160))`, on the image as they read it."""
    image = picture(*shape)
    tutorial = transforms.Compose(
        [
            transforms.Resize((224, 160), transforms.InterpolationMode(interpolation)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    ours = Preprocessing.parse(f"resize=224x160,interpolation={interpolation}")
    assert ours.crop == (224, 160)
    difference = levels(ours, image, tutorial(as_pil(image)))
    assert difference.max() <= 2.01
    assert difference.mean() < 0.02


@pytest.mark.parametrize("fill", ["0", "114", "10/200/30"])
@pytest.mark.parametrize("shape", [(300, 400), (97, 55), (64, 64)])
def test_padding_to_a_square_is_what_pillow_makes(fill: str, shape: tuple[int, int]) -> None:
    image = picture(*shape)
    colour = tuple(map(int, fill.split("/"))) * (1 if "/" in fill else 3)
    theirs = ImageOps.pad(as_pil(image), (64, 64), Image.Resampling.BILINEAR, color=colour)
    ours = Preprocessing.parse(f"resize=64,crop_mode=border,fill={fill}").resize_crop(image)
    assert ours.shape == (3, 64, 64)
    difference = ours.int() - torch.from_numpy(np.asarray(theirs).copy()).permute(2, 0, 1).int()
    assert difference.abs().max() <= 2


def test_a_border_has_the_colour_of_the_mean_unless_another_is_named() -> None:
    wide = torch.full((3, 10, 20), 255, dtype=torch.uint8)
    out = Preprocessing.parse("resize=20,crop_mode=border,mean=0.5/0.25/0").resize_crop(wide)
    assert out[:, 0, 0].tolist() == [128, 64, 0]
    assert (out[:, 5:15] == 255).all()
    assert Preprocessing.parse("resize=20,crop_mode=border,fill=mean").fill is None
    # an image that is only cropped was always padded black
    assert Preprocessing.parse("mean=0.5").colour == (0, 0, 0)


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(1, 600),
    st.integers(1, 600),
    st.sampled_from(["center", "border"]),
)
def test_sizes_are_those_of_timm(height: int, width: int, tall: int, wide: int, mode: str) -> None:
    longest = 1.0 if mode == "border" else 0.0
    blank = torch.empty((3, 1, 1), dtype=torch.uint8).expand(3, height, width)
    theirs = ResizeKeepRatio.get_params(blank, (tall, wide), longest)
    ours = resized_size(Preprocessing(resize=(tall, wide), crop_mode=mode), height, width)
    halves = (2 * height * wide % width, 2 * width * tall % height)
    for one, other in zip(ours, theirs, strict=True):
        # timm divides twice, so that exact halves may fall to either side
        assert one == max(1, other) or (0 in halves and abs(one - other) == 1)


def test_one_way_to_say_a_size() -> None:
    squash = Preprocessing.parse("resize=224x224")
    assert squash.crop_mode == "squash"
    assert squash == Preprocessing.parse("resize=224,crop_mode=squash")
    assert squash == Preprocessing(resize=(224, 224))
    assert Preprocessing.parse("resize=96x64").crop == (96, 64)
    assert Preprocessing.parse("resize=96x64,crop=32").crop == (32, 32)
    assert Preprocessing.parse("resize=96,crop_mode=border").crop == (96, 96)
    assert Preprocessing.parse("resize=96").crop == (224, 224)


def test_what_an_earlier_version_stored_means_the_same() -> None:
    stored = (
        '{"resize":256,"crop":[224,224],"interpolation":"bilinear","mean":[0.5,0.5,0.5],'
        '"std":[0.5,0.5,0.5],"source":"given"}'
    )
    read = Preprocessing.model_validate_json(stored)
    assert read == Preprocessing(mean=0.5, std=0.5)
    assert (read.crop_mode, read.colour) == ("center", (0, 0, 0))


@pytest.mark.parametrize("text", ["resize=90x70", "resize=9,crop_mode=border,fill=7", "crop=8"])
def test_a_preprocessing_is_stored_and_read_back(text: str) -> None:
    preprocessing = Preprocessing.parse(text)
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing
    assert Preprocessing.model_validate(preprocessing.model_dump()) == preprocessing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "crop=224",
            "shorter side becomes 256 pixels (bilinear) and its central 224×224 pixels are used",
        ),
        ("resize=none,crop=8", "The image is not resized and its central 8×8 pixels are used"),
        ("resize=96x64", "The image is stretched to 96×64 pixels (bilinear); mean"),
        (
            "resize=96x64,crop=32",
            "stretched to 96×64 pixels (bilinear) and its central 32×32 pixels are used",
        ),
        ("resize=64,crop_mode=border,fill=0", "fit into 64×64 pixels (bilinear) and surrounded by"),
        ("resize=64,crop_mode=border,fill=0", "surrounded by black; mean"),
        ("resize=64,crop_mode=border,fill=114", "surrounded by the colour 114, 114, 114; mean"),
    ],
)
def test_in_words(text: str, words: str) -> None:
    assert words in preparation(Preprocessing.parse(text))


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
        ("size=3", "resize, crop_mode, crop, fill, interpolation, mean, std"),
        ("source=library", "resize, crop_mode"),
        ("crop", "HEIGHTxWIDTH"),
        ("crop=1,crop=2", "at most once"),
        ("crop=0", "1 to 4096"),
        ("crop=99999", "1 to 4096"),
        ("crop=1x2x3", "HEIGHTxWIDTH"),
        ("resize=1.5", "none"),
        ("resize=224x", "HEIGHTxWIDTH"),
        ("resize=0x224", "1 to 4096"),
        ("crop_mode=stretch", "center, squash, border"),
        ("resize=none,crop_mode=border", "no size to fit"),
        ("fill=256", "0 to 255"),
        ("fill=black", "0 to 255"),
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


@pytest.mark.slow
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
