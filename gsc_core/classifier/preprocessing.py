"""From a decoded image to what the classifier takes: resize, crop, normalise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gsc_core.errors import ImageError, SpecError

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MAX_RESIZED_PIXELS = 80_000_000  # as many as an image may have that is read

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


def _one_or_three(value: Any) -> Any:
    """One number stands for all three channels."""
    if isinstance(value, int | float):
        return (value,) * 3
    return tuple(value) * 3 if isinstance(value, list | tuple) and len(value) == 1 else value


Pixels = Annotated[int, Field(gt=0, le=4096)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Crop = Annotated[tuple[Pixels, Pixels], BeforeValidator(lambda v: (v, v) if type(v) is int else v)]


class Preprocessing(BaseModel):
    """What is done to an image before the classifier sees it.

    Attributes:
        resize: pixels of the shorter side after resizing; None leaves the size alone.
        crop: height and width of the centre crop; one number stands for a square.
        interpolation: how pixels are resampled (always with antialiasing).
        mean, std: of the red, green and blue values between 0 and 1; one number stands for all.
        source: where the values come from; `assumed` must be said wherever results are shown.

    >>> from gsc_core import Preprocessing
    >>> Preprocessing.parse("resize=256,crop=224,mean=0.5,std=0.5").crop
    (224, 224)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Pixels | None = 256
    crop: Crop = (224, 224)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    mean: Annotated[tuple[Finite, Finite, Finite], BeforeValidator(_one_or_three)] = IMAGENET_MEAN
    std: Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_one_or_three)] = (
        IMAGENET_STD
    )
    source: Literal["given", "file", "library", "assumed"] = "given"

    @classmethod
    def assumed(cls, crop: tuple[int, int] = (224, 224)) -> Preprocessing:
        """The usual ImageNet preprocessing, for when nobody said: 256/224, bilinear."""
        return cls(resize=round(min(crop) * 256 / 224), crop=crop, source="assumed")

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """Read `resize=256,crop=224,interpolation=bicubic,mean=0.5,std=0.229/0.224/0.225`.

        What is not named keeps its ImageNet value; `crop` may be `HEIGHTxWIDTH`, `resize` `none`.

        Raises:
            SpecError: a key or value is unknown.
        """
        choices = [key for key in cls.model_fields if key != "source"]
        values: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in choices or key in values:
                raise SpecError(
                    f"Preprocessing {part!r} is not understood: name each of "
                    f"{', '.join(choices)} at most once, as key=value."
                )
            values[key] = _parsed(key, value)
        try:
            return cls(**values)
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            raise SpecError(
                f"Preprocessing {key} cannot be {_shown(text, key)!r}: {_EXPECTED[key]}."
            ) from error

    @classmethod
    def from_torchvision(cls, transforms: Any) -> Preprocessing:
        """From `weights.transforms()`, torchvision's ImageClassification preset."""
        return cls(
            resize=transforms.resize_size[0],
            crop=tuple(transforms.crop_size) * (3 - len(transforms.crop_size)),
            interpolation=transforms.interpolation.value,
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            source="library",
        )

    @classmethod
    def from_timm(cls, config: dict[str, Any]) -> Preprocessing:
        """From a timm model's `pretrained_cfg`, as timm's own evaluation transform reads it.

        Raises:
            SpecError: the model is evaluated in a way that is not a resize and a centre crop.
        """
        crop = tuple(config["input_size"][-2:])
        if config.get("crop_mode") not in (None, "", "center") or (
            config["interpolation"] not in _INTERPOLATIONS
        ):
            raise SpecError(
                f"timm evaluates this model with crop mode {config.get('crop_mode')!r} and "
                f"{config['interpolation']!r} interpolation, which is not offered here: give the "
                "preprocessing yourself."
            )
        return cls(
            resize=math.floor(min(crop) / config["crop_pct"]),
            crop=crop,
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            source="library",
        )

    def resize_crop(self, image: Tensor) -> Tensor:
        """uint8 `[3,H,W]` to uint8 `[3,h,w]`; an image smaller than the crop is padded black.

        Raises ImageError where the resize would make more than 80 million pixels of it.
        """
        from torchvision.transforms import InterpolationMode  # noqa: PLC0415 - heavy
        from torchvision.transforms.v2 import functional  # noqa: PLC0415 - heavy

        if self.resize is not None:
            self._check_resized(*image.shape[-2:])
            mode = InterpolationMode(self.interpolation)
            image = functional.resize(image, [self.resize], interpolation=mode, antialias=True)
        cropped: Tensor = functional.center_crop(image, list(self.crop))
        return cropped

    def _check_resized(self, height: int, width: int) -> None:
        """The shorter side is resized, so the longer one of a thin image may become any length."""
        assert self.resize is not None
        longer = self.resize * max(height, width) // min(height, width)
        if self.resize * longer > MAX_RESIZED_PIXELS:
            raise ImageError(
                f"The image of {width} × {height} pixels is so thin that resizing its shorter side "
                f"to {self.resize} would make the longer one {longer}, more than 80 million pixels "
                f"in all: crop it."
            )

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 `[B,3,h,w]` to float32 of the same shape, on the device of the batch."""
        import torch  # noqa: PLC0415 - heavy

        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=batch.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (batch.to(torch.float32) / 255).sub_(mean).div_(std)


_EXPECTED = {
    "resize": "a number of pixels from 1 to 4096, or none",
    "crop": "a number of pixels from 1 to 4096, or HEIGHTxWIDTH",
    "interpolation": f"choose one of {', '.join(_INTERPOLATIONS)}",
    "mean": "one number, or three separated by /",
    "std": "one number above 0, or three separated by /",
}


def _parsed(key: str, text: str) -> Any:
    """The text as the model takes it; what is no number is left for the model to refuse."""
    if key == "interpolation":
        return text
    if key == "resize" and text == "none":
        return None
    convert = float if key in ("mean", "std") else int
    try:
        numbers = [convert(part) for part in text.split("x" if key == "crop" else "/")]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _shown(text: str, key: str) -> str:
    parts = (part.partition("=") for part in text.split(","))
    return next(value.strip() for name, _, value in parts if name.strip() == key)
