"""From a decoded image to what the classifier takes: resize, crop, normalise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gsc_core.errors import SpecError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_CROP_MODES = ("center", "squash", "border")
_TIMM_CROP_PCT = 0.875  # where a timm model names none


def _of_all_channels(value: Any) -> Any:
    """One number stands for all three channels; a list of one is that of grey images."""
    return (value,) * 3 if isinstance(value, int | float) else value


Pixels = Annotated[int, Field(gt=0, le=4096)]
Level = Annotated[int, Field(ge=0, le=255)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = tuple[Pixels, Pixels]
Means = tuple[Finite, Finite, Finite] | tuple[Finite]
Deviations = tuple[Positive, Positive, Positive] | tuple[Positive]
Crop = Annotated[Size, BeforeValidator(lambda v: (v, v) if type(v) is int else v)]


class Preprocessing(BaseModel):
    """What is done to an image before the classifier sees it.

    Attributes:
        resize: pixels of the shorter side after resizing, or of height and width; None leaves the
            size alone.
        crop_mode: as timm has it. `center`: the image covers `resize`; `squash`: it becomes
            exactly that, whatever its aspect; `border`: it lies inside. Two numbers for `resize`
            alone mean `squash`, and then `crop` is the same unless it is named.
        crop: height and width of the centre crop; one number stands for a square.
        fill: red, green and blue, 0 to 255, where an image is smaller than the crop; None is the
            mean for `border`, else black.
        interpolation: how pixels are resampled (always with antialiasing).
        mean, std: of the red, green and blue values between 0 and 1; one number stands for all. A
            network of one channel has one of each, and its images are made grey as Pillow's mode L.
        source: where the values come from; `assumed` must be said wherever results are shown.

    >>> from gsc_core import Preprocessing
    >>> Preprocessing.parse("resize=256,crop=224,mean=0.5,std=0.5").crop
    (224, 224)
    >>> Preprocessing.parse("resize=224x224").crop_mode
    'squash'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Pixels | Size | None = 256
    crop_mode: Literal["center", "squash", "border"] = "center"
    crop: Crop = (224, 224)
    fill: Annotated[tuple[Level, Level, Level] | None, BeforeValidator(_of_all_channels)] = None
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    mean: Annotated[Means, BeforeValidator(_of_all_channels)] = IMAGENET_MEAN
    std: Annotated[Deviations, BeforeValidator(_of_all_channels)] = IMAGENET_STD
    source: Literal["given", "file", "library", "assumed"] = "given"

    @model_validator(mode="before")
    @classmethod
    def _one_way_to_say_it(cls, values: Any) -> Any:
        """A size alone is a squash to it; what is made of a whole image is not cropped unasked."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        resize = values.get("resize", 256)
        pair = isinstance(resize, tuple | list)
        mode = values.setdefault("crop_mode", "squash" if pair else "center")
        if mode in ("squash", "border") and type(resize) is int:
            values["resize"] = (resize, resize)
        if pair or (mode in ("squash", "border") and values.get("resize")):
            values.setdefault("crop", resize)
        for one, other in (("mean", "std"), ("std", "mean")):
            if _is_single(values.get(one)) and not _is_single(values.get(other)):
                values[one] = tuple(values[one]) * 3
        return values

    @model_validator(mode="after")
    def _has_a_size_to_fit(self) -> Preprocessing:
        if self.resize is None and self.crop_mode != "center":
            raise ValueError(f"crop mode {self.crop_mode} has no size to resize to")
        return self

    @classmethod
    def assumed(cls, crop: tuple[int, int] = (224, 224)) -> Preprocessing:
        """The usual ImageNet preprocessing, for when nobody said: 256/224, bilinear."""
        return cls(resize=round(min(crop) * 256 / 224), crop=crop, source="assumed")

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """Read `resize=256,crop=224,interpolation=bicubic,mean=0.5,std=0.229/0.224/0.225`.

        What is not named keeps its ImageNet value. `crop` and `resize` may be `HEIGHTxWIDTH`,
        `resize` also `none`; `resize=224,crop_mode=border,fill=0` pads to a square in black.

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
            raise SpecError(_refusal(text, error)) from error

    @classmethod
    def from_torchvision(cls, transforms: Any) -> Preprocessing:
        """From `weights.transforms()`, torchvision's ImageClassification preset."""
        size = tuple(transforms.resize_size)
        return cls(
            resize=size[0] if len(size) == 1 else size,
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
            SpecError: the model is evaluated in a way that is not offered here.
        """
        crop = tuple(config.get("input_size") or (3, 224, 224))[-2:]
        mode: Any = config.get("crop_mode") or "center"
        interpolation: Any = config.get("interpolation") or "bicubic"
        if mode not in _CROP_MODES or interpolation not in _INTERPOLATIONS:
            raise SpecError(
                f"timm evaluates this model with crop mode {mode!r} and {interpolation!r} "
                "interpolation, which is not supported here: set the preprocessing yourself."
            )
        share = config.get("crop_pct") or _TIMM_CROP_PCT
        height, width = (math.floor(side / share) for side in crop)
        return cls(
            resize=height if mode == "center" and height == width else (height, width),
            crop_mode=mode,
            crop=crop,
            interpolation=interpolation,
            mean=tuple(config.get("mean") or IMAGENET_MEAN),
            std=tuple(config.get("std") or IMAGENET_STD),
            source="library",
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the classifier sees."""
        return len(self.mean), *self.crop

    def for_channels(self, channels: int) -> Preprocessing:
        """The same for a network that takes so many channels, 1 or 3.

        Raises SpecError where three different values were stated for a network of one.
        """
        if channels == len(self.mean):
            return self
        if channels == 3:
            return self.model_copy(update={"mean": self.mean * 3, "std": self.std * 3})
        source = self.source
        if len({*self.mean}) > 1 or len({*self.std}) > 1:
            if source in ("given", "file"):
                raise SpecError(
                    "The network takes grey images, so its preprocessing has one mean and one "
                    "deviation: give each of them one value, such as mean=0.5,std=0.5."
                )
            source = "assumed"  # no library says what its values are for grey images
        mean, std = (
            values[0] if len({*values}) == 1 else round(sum(values) / 3, 3)
            for values in (self.mean, self.std)
        )
        return self.model_copy(update={"mean": (mean,), "std": (std,), "source": source})

    @property
    def colour(self) -> tuple[int, int, int]:
        """What lies around an image that is smaller than the crop: red, green and blue."""
        if self.fill is not None:
            return self.fill
        if self.crop_mode != "border":
            return (0, 0, 0)
        levels = [min(255, max(0, round(255 * value))) for value in self.mean]
        return levels[0], levels[len(levels) // 2], levels[-1]

    def resize_crop(self, image: Tensor) -> Tensor:
        """uint8 `[3,H,W]` to uint8 `shape`; an image smaller than the crop is padded.

        Raises ImageError where the resize would make more than 80 million pixels of it.
        """
        from gsc_core.classifier.resizing import resize_crop  # noqa: PLC0415 - heavy

        return resize_crop(image, self)

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 `[B,C,h,w]` to float32 of the same shape, on the device of the batch."""
        import torch  # noqa: PLC0415 - heavy

        mean, std = (_of_channels(values, batch.device) for values in (self.mean, self.std))
        return (batch.to(torch.float32) / 255).sub_(mean).div_(std)


def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers as `[C,1,1]`, made on the device: it would wait for one brought from the CPU."""
    import torch  # noqa: PLC0415 - heavy

    return torch.stack([torch.full((1, 1), value, device=device) for value in values])


def _is_single(values: Any) -> bool:
    return isinstance(values, tuple | list) and len(values) == 1


_EXPECTED = {
    "resize": "a number of pixels from 1 to 4096, HEIGHTxWIDTH, or none",
    "crop_mode": f"choose one of {', '.join(_CROP_MODES)}",
    "crop": "a number of pixels from 1 to 4096, or HEIGHTxWIDTH",
    "fill": "mean, one number from 0 to 255, or three separated by /",
    "interpolation": f"choose one of {', '.join(_INTERPOLATIONS)}",
    "mean": "one number, or three separated by /",
    "std": "one number above 0, or three separated by /",
}


def _parsed(key: str, text: str) -> Any:
    """The text as the model takes it; what is not a number is left for the model to refuse."""
    if key in ("interpolation", "crop_mode"):
        return text
    if (key, text) in (("resize", "none"), ("fill", "mean")):
        return None
    convert = float if key in ("mean", "std") else int
    try:
        numbers = [convert(part) for part in text.split("x" if key in ("crop", "resize") else "/")]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _refusal(text: str, error: ValidationError) -> str:
    """What is wrong with the first value that cannot be used."""
    place = error.errors()[0]["loc"]
    if not place:
        return (
            f"Preprocessing {text!r} has no size to fit the image to: give resize a number of "
            "pixels or HEIGHTxWIDTH, or leave crop_mode out."
        )
    key = str(place[0])
    parts = (part.partition("=") for part in text.split(","))
    shown = next(value.strip() for name, _, value in parts if name.strip() == key)
    return f"Preprocessing {key} cannot be {shown!r}: {_EXPECTED[key]}."
