"""A Hugging Face folder, read and never executed: the network's configuration, its preprocessing.

`config.json` says which library made the model: timm's has `architecture`, transformers' has
`model_type`. Code that a folder brings along (`auto_map`) is never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gsc_core.classifier.huggingface.shards import WEIGHTS
from gsc_core.classifier.metadata import ClassName, Scalar
from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsc_core.errors import CheckpointError, SpecError
from gsc_core.errors.questions import Question, Setting

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_MAX_BYTES = 16 * 2**20
_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
_SQUARE = ("ViT", "DeiT", "Beit", "Dinov3ViT")  # to whom one number means height and width
_CROP_SHARE = "ConvNext"  # resizes by `crop_pct`, and crops to `shortest_edge`

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,100}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Configuration(_Part):
    """`config.json` of either library, as far as it is read here.

    Attributes:
        architecture: timm's name of the network.
        model_args: arguments of its constructor.
        pretrained_cfg: timm's preprocessing.
        label_names, label_descriptions: timm's classes; the second are for people.
        model_type, architectures: of transformers.
        id2label: transformers' class names by their number.
        auto_map: the code that a model brings along.
    """

    architecture: Name | None = None
    model_args: dict[str, Scalar | list[Scalar]] = {}
    pretrained_cfg: dict[str, Any] = {}
    label_names: list[ClassName] | None = None
    label_descriptions: dict[str, ClassName] | list[ClassName] | None = None
    model_type: Name | None = None
    architectures: list[Name] | None = None
    id2label: dict[str, ClassName] = {}
    auto_map: dict[str, Any] = {}

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """In order of the outputs; None where the file has none but numbers."""
        if self.label_names:
            described = self.label_descriptions
            if isinstance(described, dict):
                return tuple(described.get(name, name) for name in self.label_names)
            return tuple(described or self.label_names)
        numbers = [str(at) for at in range(len(self.id2label))]
        if not numbers or set(numbers) != self.id2label.keys():
            return None
        names = tuple(self.id2label[number] for number in numbers)
        return None if names == tuple(f"LABEL_{number}" for number in numbers) else names


class _Size(_Part):
    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None


class Processor(_Part):
    """`preprocessor_config.json`: what is done to an image, as transformers writes it."""

    image_processor_type: str = ""
    feature_extractor_type: str = ""
    do_resize: bool = True
    size: _Size | int | None = None
    resample: int | None = 2
    do_center_crop: bool | None = None
    crop_size: _Size | int | None = None
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    rescale_offset: bool | None = None
    do_normalize: bool | None = True
    image_mean: list[float] | float = list(IMAGENET_MEAN)
    image_std: list[float] | float = list(IMAGENET_STD)
    do_pad: bool | None = None

    def preprocessing(self, name: str) -> Preprocessing:
        """The same in our terms; raises CheckpointError where it has none."""
        if not self.do_rescale or abs(self.rescale_factor * 255 - 1) > 1e-3 or self.rescale_offset:
            raise _unusual(name, "pixel values are not scaled to 0…1")
        if self.do_pad:
            raise _unusual(name, "images are padded")
        if self.resample not in (*_INTERPOLATIONS, None):
            raise _unusual(name, f"images are resampled with method {self.resample}")
        if not self.do_resize and not self.do_center_crop:
            raise _unusual(name, "images are not resized to one size")
        return Preprocessing.model_validate(
            {
                **self._sizes(name),
                "interpolation": _INTERPOLATIONS[2 if self.resample is None else self.resample],
                "mean": self.image_mean if self.do_normalize else 0.0,
                "std": self.image_std if self.do_normalize else 1.0,
                "source": "file",
            }
        )

    def _sizes(self, name: str) -> dict[str, Any]:
        size = self.size
        if isinstance(size, int):
            square = self.kind.startswith(_SQUARE) or not self.do_center_crop
            square = square and not self.kind.startswith(_CROP_SHARE)
            size = _Size(height=size, width=size) if square else _Size(shortest_edge=size)
        edge = None if size is None else size.shortest_edge
        if self.kind.startswith(_CROP_SHARE) and edge is not None and self.do_resize:
            if edge >= 384:
                return {"resize": (edge, edge), "crop": (edge, edge)}
            return {"resize": int(edge / (self.crop_pct or 224 / 256)), "crop": (edge, edge)}
        resize: Any = edge
        if resize is None and size is not None and size.height and size.width:
            resize = (size.height, size.width)
        crop: Any = self._crop()
        if crop is None:
            crop = resize if isinstance(resize, tuple) else None
        if crop is None or (self.do_resize and resize is None):
            raise _unusual(name, "images are not resized to one size")
        return {"resize": resize if self.do_resize else None, "crop": crop}

    def _crop(self) -> tuple[int, int] | None:
        size = self.crop_size
        if not self.do_center_crop or size is None:
            return None
        if isinstance(size, int):
            return size, size
        return (size.height, size.width) if size.height and size.width else None

    @property
    def kind(self) -> str:
        """The class that transformers would use, such as `ViTImageProcessor`."""
        return self.image_processor_type or self.feature_extractor_type


def read_configuration(folder: Path) -> Configuration:
    """Read `config.json`; raises CheckpointError where there is none or it is not what it seems."""
    return _read(folder / CONFIG, Configuration)


def read_preprocessing(folder: Path) -> Preprocessing | None:
    """Read `preprocessor_config.json`, where there is one; raises CheckpointError."""
    path = folder / PROCESSOR
    if not path.exists():
        return None
    try:
        return _read(path, Processor).preprocessing(folder.name)
    except ValidationError as error:  # numbers that no image can have
        raise _unreadable(path) from error


def preprocessing_of_timm(configuration: Configuration) -> Preprocessing | None:
    """What `pretrained_cfg` says; None where it says nothing that can be done here."""
    if "input_size" not in configuration.pretrained_cfg:
        return None
    try:
        usual = Preprocessing.from_timm(configuration.pretrained_cfg)
    except (SpecError, ValueError, TypeError, KeyError, ZeroDivisionError):
        return None
    return usual.model_copy(update={"source": "file"})


_Read = TypeVar("_Read", bound=_Part)


def _read(path: Path, model: type[_Read]) -> _Read:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unreadable(path)
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CheckpointError(
            f"{path.parent.name} has no {path.name} that can be read: give a model file, or a "
            f"Hugging Face folder with {CONFIG} and {WEIGHTS[0]}."
        ) from error
    except (ValueError, RecursionError) as error:  # ValidationError is a ValueError
        raise _unreadable(path) from error


def _unreadable(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} in {path.parent.name} is damaged or not what its name says: save the model "
        "again."
    )


def _unusual(name: str, what: str) -> CheckpointError:
    return CheckpointError.asking(
        Question(
            doubt=f"The preprocessing of {name} is not supported here ({what})",
            otherwise="set it yourself",
            fields=(Setting.PREPROCESSING,),
        )
    )
