"""What an architecture looks like: its tensors without their values, which depend on classes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gsc_core.classifier.weights import architectures
from gsc_core.classifier.weights.bounded import TooLargeError
from gsc_core.errors import SpecError

Options = Mapping[str, Any]
_SCALARS = (bool, int, float, str)
_SIZES = ("img_size", "image_size")  # whose default may be None
# Arguments that change nothing once the network is trained, or that no person sets.
_UNSEEN = {"num_classes", "device", "dtype", "progress", "init_weights", "weight_init", "fix_init"}


@dataclass(frozen=True)
class Skeleton:
    """An architecture with its options, built without memory for its weights.

    Attributes:
        module: on torch's `meta` device where that can be done.
        tensors: its state dict, of which only the shapes are of interest.
        of_classes: tensors whose first dimension is the number of classes, in order.
        of_training: tensors that are there for auxiliary heads alone, which eval mode ignores.
    """

    architecture: str
    options: Options
    module: nn.Module
    tensors: dict[str, Tensor]
    of_classes: tuple[str, ...]
    of_training: frozenset[str]

    @classmethod
    def of(cls, architecture: str, options: Options) -> Skeleton:
        """Build it. Raises SpecError for options that the constructor does not take."""
        module = _empty(architecture, None, options)
        auxiliary: frozenset[str] = frozenset()
        if "aux_logits" in signature(module):
            options = {**options, "aux_logits": True}
            full = _empty(architecture, None, options).state_dict()
            options = {**options, "aux_logits": False}
            module = _empty(architecture, None, options)
            auxiliary = frozenset(full.keys() - module.state_dict().keys())
        classes = _of_classes(architecture, options)
        return cls(architecture, options, module, dict(module.state_dict()), classes, auxiliary)

    def changed(self, **changes: Any) -> Skeleton:
        """The same with other options. Raises SpecError where it cannot be built."""
        options = {**self.options, **changes}
        module = _empty(self.architecture, None, options)
        return replace(self, options=options, module=module, tensors=dict(module.state_dict()))

    def same_network(self) -> nn.Module:
        """The network itself, with memory for weights, which are not trained."""
        return architectures.build(self.architecture, None, self.options)


def signature(module: nn.Module) -> dict[str, inspect.Parameter]:
    """The arguments of the module's class that a number, a word or yes and no can set."""
    parameters = inspect.signature(type(module).__init__).parameters
    return {name: p for name, p in parameters.items() if name not in _UNSEEN and _is_plain(p)}


def words_of(parameter: inspect.Parameter) -> tuple[str, ...]:
    """The words an argument takes, where its annotation says so."""
    annotation = parameter.annotation
    if typing.get_origin(annotation) is Literal:
        return tuple(word for word in typing.get_args(annotation) if isinstance(word, str) and word)
    return ()


def _is_plain(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.default, _SCALARS) or parameter.name in _SIZES


def _of_classes(architecture: str, options: Options) -> tuple[str, ...]:
    """Tensors whose shape follows the number of classes."""
    try:
        few, more = (
            _empty(architecture, number, {k: v for k, v in options.items() if k != "num_classes"})
            for number in (3, 5)
        )
    except SpecError:
        return ()
    shapes = {key: value.shape for key, value in more.state_dict().items()}
    return tuple(k for k, v in few.state_dict().items() if v.shape != shapes.get(k))


def _empty(architecture: str, num_classes: int | None, options: Options) -> nn.Module:
    try:
        with torch.device("meta"):
            return architectures.build(architecture, num_classes, options)
    except TooLargeError:
        raise
    except SpecError:  # some constructors look at values
        return architectures.build(architecture, num_classes, options)
