"""A user's model in any form to a `Classifier`: one exported program and what belongs to it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.export import ExportedProgram

from gsc_core import imagenet
from gsc_core.classifier.guard import loading
from gsc_core.classifier.huggingface import archive, configuration
from gsc_core.classifier.huggingface.shards import open_weights
from gsc_core.classifier.huggingface.transformers_network import transformers_network
from gsc_core.classifier.metadata import Metadata, read_class_names
from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.classifier.programs.program import (
    conform,
    export,
    input_channels,
    input_size,
    number_of_classes,
)
from gsc_core.classifier.spec import ModelSpec
from gsc_core.classifier.weights import architectures, state_dict
from gsc_core.classifier.weights.checkpoint import Checkpoint, open_checkpoint
from gsc_core.errors import CheckpointError, SpecError
from gsc_core.errors.questions import Question, Setting


@dataclass(frozen=True)
class Classifier:
    """A classifier ready to be audited.

    Attributes:
        program: images float32 `[B,3,H,W]` to logits `[B,K]`, any `B`, frozen, in eval mode.
        preprocessing: what makes such images from images.
        class_names: `K` names in order of the logits, or None.
        num_classes: `K`.
        sha256: of the file, or of the weights' bytes when there was no file.
        source: what the classifier was made from, to be shown.
        architecture: full name, where one was needed.
        parameters: number of trained values.
        notes: what a person should know of how the file was opened, in whole sentences.
    """

    program: ExportedProgram
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    num_classes: int
    sha256: str
    source: str
    architecture: str | None
    parameters: int
    notes: tuple[str, ...] = ()


def load_classifier(spec: ModelSpec) -> Classifier:
    """Open, check and export the classifier that a specification names.

    Raises:
        CheckpointError: the file cannot be used; the sentence says why and what to do.
        SpecError: the specification is incomplete or contradicts the file.

    >>> from gsc_core import ModelSpec, load_classifier
    >>> from gsc_core.demo import DEMO_WEIGHTS
    >>> load_classifier(ModelSpec(checkpoint=DEMO_WEIGHTS)).num_classes
    16
    """
    with loading(_named(spec)):
        return _loaded(spec)


def _named(spec: ModelSpec) -> str:
    """What a sentence calls the classifier."""
    return spec.checkpoint.name if spec.checkpoint is not None else str(spec.architecture)


def _loaded(spec: ModelSpec) -> Classifier:
    if spec.pretrained:
        return _from_library(spec)
    if spec.checkpoint is None:
        raise SpecError(
            "No model was named: give a checkpoint file, or an architecture and pretrained."
        )
    if spec.checkpoint.is_dir():
        return _from_folder(spec, spec.checkpoint)
    if archive.is_one(spec.checkpoint):
        with archive.unpacked(spec.checkpoint) as folder:
            return _from_folder(spec, folder)
    checkpoint = open_checkpoint(spec.checkpoint)
    if checkpoint.program is not None:
        return _from_program(spec, checkpoint.program, checkpoint.sha256)
    return _from_weights(spec, checkpoint)


def classifier_from_module(
    module: nn.Module,
    preprocessing: Preprocessing,
    class_names: Sequence[str] | None = None,
    source: str = "Python module",
) -> Classifier:
    """A classifier from one's own module, which is copied and left as it is.

    Args:
        module: takes float32 images `[B,3,H,W]` and gives logits `[B,K]`.
        preprocessing: its crop is the size of the images.
        class_names: in order of the logits.
        source: what to call it.

    Raises:
        CheckpointError: the module is not an image classifier or cannot be exported.
    """
    module = copy.deepcopy(module).cpu()
    notes: list[str] = []
    program = export(module, preprocessing.crop, source, notes.append)
    names = None if class_names is None else tuple(class_names)
    origin = _Origin(source, _digest(dict(module.state_dict())))
    return _classifier(program, preprocessing, names, origin, notes)


def _from_library(spec: ModelSpec) -> Classifier:
    if spec.architecture is None or spec.checkpoint is not None or spec.options:
        raise SpecError(
            "Pretrained weights come only with an architecture: name one, without a checkpoint or "
            "options."
        )
    name = architectures.resolve(spec.architecture)
    module, preprocessing, names = architectures.pretrained(name)
    preprocessing = spec.preprocessing or preprocessing
    program = export(module, preprocessing.crop, name)
    names = _names_asked_for(spec) or names
    origin = _Origin(f"{name}, pretrained", _digest(dict(module.state_dict())), name)
    return _classifier(program, preprocessing, names, origin)


def _from_program(spec: ModelSpec, program: ExportedProgram, sha256: str) -> Classifier:
    assert spec.checkpoint is not None
    source = spec.checkpoint.name
    if spec.architecture is not None or spec.options or spec.weights:
        raise SpecError(
            f"{source} is a whole program: leave out the architecture, its options and the "
            "choice of weights."
        )
    size = input_size(program)
    preprocessing = spec.preprocessing or Preprocessing.assumed(size or (224, 224))
    if size is not None and size != preprocessing.crop:
        raise SpecError(
            f"{source} takes images of {size[0]}×{size[1]} pixels, but the preprocessing crops to "
            f"{preprocessing.crop[0]}×{preprocessing.crop[1]}."
        )
    notes: list[str] = []
    program = conform(program, source, preprocessing.crop, notes.append)
    names = _names_asked_for(spec)
    return _classifier(program, preprocessing, names, _Origin(source, sha256), notes)


def _from_weights(spec: ModelSpec, checkpoint: Checkpoint) -> Classifier:
    assert spec.checkpoint is not None
    source = spec.checkpoint.name
    said = Metadata.read(checkpoint.metadata, source)
    if (architecture := spec.architecture or said.architecture) is None:
        beside = spec.checkpoint.parent / configuration.CONFIG
        folder = f"give its folder, {beside.parent}, or " if beside.is_file() else ""
        question = Question(
            doubt=f"{source} holds only weights",
            otherwise=f"{folder}name the architecture, such as torchvision/resnet18",
            fields=(Setting.ARCHITECTURE,),
        )
        raise SpecError.asking(question)
    architecture = architectures.resolve(architecture)
    options = spec.options or (said.options if spec.architecture is None else {})
    fitted = state_dict.fit(checkpoint.weights, architecture, options, source, spec.weights)
    preprocessing = (
        spec.preprocessing
        or (said.preprocessing and said.preprocessing.model_copy(update={"source": "file"}))
        or architectures.assumed_preprocessing(architecture, fitted.options)
    )
    notes = list(fitted.notes)
    program = export(fitted.module, preprocessing.crop, source, notes.append)
    names = _names_asked_for(spec) or (tuple(said.class_names) if said.class_names else None)
    origin = _Origin(source, checkpoint.sha256, architecture)
    return _classifier(program, preprocessing, names, origin, notes)


def _from_folder(spec: ModelSpec, folder: Path) -> Classifier:
    """A Hugging Face folder: timm's through its architecture, else by transformers."""
    assert spec.checkpoint is not None
    source = spec.checkpoint.name
    if spec.architecture is not None:
        raise SpecError(f"{source} says which network it is: leave out the architecture.")
    said = configuration.read_configuration(folder)
    checkpoint = open_weights(folder)
    preprocessing = spec.preprocessing or configuration.read_preprocessing(folder)
    names = _names_asked_for(spec) or said.class_names
    if said.architecture is not None:
        architecture = architectures.resolve(f"timm/{said.architecture}")
        options = {**said.model_args, **spec.options}
        fitted = state_dict.fit(checkpoint.weights, architecture, options, source, spec.weights)
        preprocessing = (
            preprocessing
            or configuration.preprocessing_of_timm(said)
            or architectures.assumed_preprocessing(architecture, fitted.options)
        )
        notes = list(fitted.notes)
        program = export(fitted.module, preprocessing.crop, source, notes.append)
        origin = _Origin(source, checkpoint.sha256, architecture)
        return _classifier(program, preprocessing, names, origin, notes)
    if spec.options or spec.weights:
        raise SpecError(
            f"{source} says which network it is: leave out its options and the choice of weights."
        )
    module = transformers_network(folder, said, checkpoint.weights)
    preprocessing = preprocessing or Preprocessing.assumed()
    notes = []
    program = export(module, preprocessing.crop, source, notes.append)
    return _classifier(program, preprocessing, names, _Origin(source, checkpoint.sha256), notes)


def _names_asked_for(spec: ModelSpec) -> tuple[str, ...] | None:
    if spec.class_names is None:
        return None
    if spec.class_names == "imagenet":
        return imagenet.class_names()
    return read_class_names(spec.class_names)


@dataclass(frozen=True)
class _Origin:
    source: str
    sha256: str
    architecture: str | None = None


def _classifier(
    program: ExportedProgram,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...] | None,
    origin: _Origin,
    notes: Sequence[str] = (),
) -> Classifier:
    num_classes = number_of_classes(program)
    class_names = imagenet.readable(class_names)
    if class_names is not None and len(class_names) != num_classes:
        raise CheckpointError(
            f"{origin.source} has {num_classes} classes, but there are {len(class_names)} names."
        )
    return Classifier(
        program=program,
        preprocessing=preprocessing.for_channels(input_channels(program)),
        class_names=class_names,
        num_classes=num_classes,
        sha256=origin.sha256,
        source=origin.source,
        architecture=origin.architecture,
        parameters=sum(parameter.numel() for parameter in program.parameters()),
        notes=tuple(notes),
    )


def _digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and bytes, in order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().tobytes())
    return digest.hexdigest()
