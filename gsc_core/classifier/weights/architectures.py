"""Network architectures by name, from torchvision and timm."""

from __future__ import annotations

import difflib
import functools
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import torchvision
from torch import nn

from gsc_core import imagenet
from gsc_core.classifier.guard import first_line
from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.classifier.weights.architecture_names import full_name
from gsc_core.classifier.weights.bounded import TooLargeError, counted
from gsc_core.errors import CheckpointError, SpecError
from gsc_core.extras import missing, require

# Constructor arguments that fetch or open something, or make another thing than a classifier.
_FORBIDDEN = {
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
    "weights",
    "weights_backbone",
    "features_only",
    "scriptable",
    "exportable",
    "name",
    "model_name",
}


@functools.cache
def names() -> tuple[str, ...]:
    """All classification architectures, as `torchvision/…` and, where it is installed, `timm/…`."""
    return (
        *(f"torchvision/{n}" for n in torchvision.models.list_models(module=torchvision.models)),
        *(() if missing("timm") else (f"timm/{n}" for n in _timm().list_models())),
    )


def resolve(name: str) -> str:
    """The full name of an architecture; a bare name is looked up in torchvision, then in timm.

    Raises:
        SpecError: neither library has it; the sentence names the nearest ones.
        MissingExtra: timm may have it, and is not installed.
    """
    if (full := full_name(name, names())) is not None:
        return full
    if not name.startswith("torchvision/"):
        require("timm")
    near = difflib.get_close_matches(
        PurePosixPath(name).name, {PurePosixPath(n).name for n in names()}, 4
    )
    hint = f"did you mean {', '.join(near)}?" if near else "see torchvision's and timm's lists."
    raise SpecError(f"There is no architecture {name[:80]!r}: {hint}")


def build(
    name: str, num_classes: int | None = None, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A new network without trained weights.

    Args:
        name: as `resolve` takes it.
        num_classes: width of the logits; None keeps the library's own number.
        options: further arguments of the library's constructor.

    Raises:
        SpecError: the name is unknown, or the constructor does not take the options.
    """
    library, bare = resolve(name).split("/")
    arguments = dict(options or {})
    if forbidden := sorted(_FORBIDDEN & arguments.keys()):
        raise SpecError(f"The option {forbidden[0]!r} cannot be set for an architecture.")
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    try:
        with warnings.catch_warnings(), counted():
            warnings.simplefilter("ignore")
            if library == "timm":
                module = _timm().create_model(bare, pretrained=False, **arguments)
            else:
                module = torchvision.models.get_model(bare, weights=None, **arguments)
    except TooLargeError:
        raise
    except Exception as error:  # each of 1,400 constructors raises what it likes
        raise SpecError(
            f"{library}/{bare} cannot be built with the options {arguments} ({_line(error)}): "
            "correct them, or leave them out."
        ) from error
    assert isinstance(module, nn.Module)
    return module


def usual_size(name: str) -> tuple[int, int]:
    """Height and width the library trained this architecture on, 224×224 when it does not say."""
    library, bare = resolve(name).split("/")
    if library == "timm":
        config = _timm().get_pretrained_cfg(bare, allow_unregistered=True)
        height, width = config.input_size[-2:] if config else (224, 224)
        return height, width
    weights = torchvision.models.get_model_weights(bare).DEFAULT
    crop = Preprocessing.from_torchvision(weights.transforms()).crop
    return crop[0], crop[1]


def usual_preprocessing(name: str) -> Preprocessing:
    """The library's own preprocessing of an architecture, without fetching its weights.

    Where the library has none, or one other than a resize and centre crop, the usual ImageNet
    values for the size of the architecture, with `source="assumed"`. Raises SpecError for
    unknown names.
    """
    library, bare = resolve(name).split("/")
    try:
        if library == "torchvision":
            weights = torchvision.models.get_model_weights(bare).DEFAULT
            return Preprocessing.from_torchvision(weights.transforms())
        if config := _timm().get_pretrained_cfg(bare, allow_unregistered=True):
            return Preprocessing.from_timm(asdict(config))
    except SpecError:
        pass
    return Preprocessing.assumed(usual_size(name))


def assumed_preprocessing(name: str, options: Mapping[str, Any]) -> Preprocessing:
    """What is assumed of an architecture's weights when nobody says: its library's preprocessing.

    Where an option sets the size of the images, the library's sizes in proportion to it. Marked as
    `assumed`, because who trained the weights may have used another. Raises SpecError.
    """
    usual = usual_preprocessing(name).model_copy(update={"source": "assumed"})
    size = next((options[key] for key in ("img_size", "image_size") if options.get(key)), None)
    if size is None:
        return usual
    try:
        crop = (size, size) if isinstance(size, int) else tuple(size)
        resize: Any = usual.resize
        if isinstance(resize, int):
            resize = round(resize * min(crop) / min(usual.crop))
        elif resize is not None:
            resize = [round(s * c / u) for s, c, u in zip(resize, crop, usual.crop, strict=True)]
        return Preprocessing.model_validate({**usual.model_dump(), "crop": crop, "resize": resize})
    except (ValueError, TypeError) as error:  # ValidationError is a ValueError
        raise SpecError(
            f"Images of the size {str(size)[:40]} cannot be made: set the preprocessing yourself."
        ) from error


def pretrained(name: str) -> tuple[nn.Module, Preprocessing, tuple[str, ...] | None]:
    """The library's own trained network, its preprocessing and class names where it has them.

    Raises:
        CheckpointError: the weights could not be fetched, or there are none.
        SpecError: the name is unknown.
    """
    library, bare = resolve(name).split("/")
    try:
        if library == "timm":
            model: Any = _timm().create_model(bare, pretrained=True)
            # all of timm's trained weights of a thousand classes are of ImageNet-1k
            names = imagenet.class_names() if model.num_classes == imagenet.CLASSES else None
            return model, Preprocessing.from_timm(dict(model.pretrained_cfg)), names
        weights = torchvision.models.get_model_weights(bare).DEFAULT
        model = torchvision.models.get_model(bare, weights=weights)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"The trained weights of {library}/{bare} could not be downloaded: pass a checkpoint "
            "file instead, or try again where the Internet can be reached."
        ) from error
    categories = tuple(weights.meta["categories"])
    return model, Preprocessing.from_torchvision(weights.transforms()), categories


def _timm() -> Any:
    require("timm")
    import timm  # noqa: PLC0415 - half a second, and a whole program needs no architecture

    return timm


def _line(error: Exception) -> str:
    return first_line(error)[:200]
