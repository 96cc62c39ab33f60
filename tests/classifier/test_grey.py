"""Networks of one channel: how their images are made, and what other numbers are told."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms.functional import rgb_to_grayscale

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.load import classifier_from_module
from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from gsc_core.classifier.resizing import grey
from gsc_core.errors import CheckpointError, SpecError

GREY = Preprocessing.parse("resize=24,crop=24,mean=0.5,std=0.25").for_channels(1)


class Channels(nn.Module):
    """A convolution of so many channels, and three classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.first(x).relu().mean(dim=(2, 3)))


def photo(height: int, width: int) -> Image.Image:
    generator = np.random.default_rng(height + width)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def tensor_of(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def test_grey_is_what_pillow_calls_l() -> None:
    image = photo(64, 48)
    expected = torch.from_numpy(np.asarray(image.convert("L")).copy())
    assert torch.equal(grey(tensor_of(image))[0], expected)
    # torchvision does the same to a file that was opened, and rounds down where it has a tensor
    of_file = torch.from_numpy(np.asarray(rgb_to_grayscale(image)).copy())
    assert torch.equal(of_file, expected)
    assert 0 <= (expected.int() - rgb_to_grayscale(tensor_of(image))[0].int()).max() <= 1


def test_what_is_grey_already_keeps_its_levels() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert torch.equal(grey(levels.expand(3, -1, -1)), levels)


@pytest.mark.parametrize("size", [(60, 80), (24, 24), (90, 31)])
def test_a_grey_image_is_what_the_tutorial_makes_of_it(size: tuple[int, int]) -> None:
    image = photo(*size)
    tutorial = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.Resize(24),
            transforms.CenterCrop(24),
            transforms.ToTensor(),
            transforms.Normalize((0.5,), (0.25,)),
        ]
    )
    pixels = GREY.resize_crop(tensor_of(image))
    assert pixels.shape == (1, 24, 24) == GREY.shape
    difference = (GREY.normalise(pixels[None])[0] - tutorial(image)).abs() * 0.25 * 255
    assert difference.max() <= 2.01


def test_the_network_says_how_many_channels_there_are() -> None:
    given = Preprocessing.parse("resize=24,crop=24,mean=0.5,std=0.25")
    assert classifier_from_module(Channels(1), given).preprocessing == GREY
    assert classifier_from_module(Channels(3), given).preprocessing == given
    assert GREY.for_channels(3) == given
    assert Preprocessing.model_validate_json(GREY.model_dump_json()) == GREY


def test_usual_values_of_colour_are_only_assumed_for_grey_images() -> None:
    assumed = classifier_from_module(Channels(1), Preprocessing.assumed((24, 24))).preprocessing
    assert (assumed.mean, assumed.std, assumed.source) == ((0.449,), (0.226,), "assumed")
    library = Preprocessing(source="library").for_channels(1)
    assert (library.mean, library.source) == ((0.449,), "assumed")


def test_three_values_that_differ_are_none_of_a_grey_network() -> None:
    given = Preprocessing(crop=24, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    with pytest.raises(SpecError, match=r"grey images.*mean=0\.5,std=0\.5"):
        classifier_from_module(Channels(1), given)


@pytest.mark.parametrize("channels", [2, 4, 12])
def test_other_numbers_of_channels_are_refused_in_one_sentence(channels: int) -> None:
    with pytest.raises(CheckpointError) as refused:
        classifier_from_module(Channels(channels), Preprocessing(crop=24), source="bands.pt2")
    assert str(refused.value) == (
        f"bands.pt2 takes images of {channels} channels: only networks for colour images (3 "
        "channels) or grey ones (1 channel) can be audited."
    )


def test_one_mean_beside_three_deviations_counts_for_all() -> None:
    mixed = Preprocessing(mean=(0.5,), std=(0.1, 0.2, 0.3))
    assert (mixed.mean, mixed.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))


def test_a_border_is_as_grey_as_the_mean() -> None:
    padded = Preprocessing.parse("resize=8,crop_mode=border,mean=0.5,std=1").for_channels(1)
    out = padded.resize_crop(torch.full((3, 4, 8), 255, dtype=torch.uint8))
    assert out[0, :, 0].tolist() == [128, 128, 255, 255, 255, 255, 128, 128]
