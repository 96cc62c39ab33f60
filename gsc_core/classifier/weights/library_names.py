"""Names of tensors that a library's own loader still reads, in the names of its networks today."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from types import ModuleType, SimpleNamespace
from typing import Any

import torchvision
from torch import Tensor

from gsc_core.classifier.weights.skeleton import Skeleton
from gsc_core.classifier.weights.weight_names import Table

_Maker = Callable[[Table, Skeleton], Table]


def conversions(table: Table, skeleton: Skeleton) -> Iterator[Table]:
    """The table as the library's loaders would rename it, one after the other.

    Loaders that resize a tensor, such as position embeddings of another image size, make another
    network of it: what they give is left out. None of them gets more than tensors and names.
    """
    library, bare = skeleton.architecture.split("/")
    makers: list[_Maker] = [_by_hooks]
    if library == "torchvision":
        makers += [_of_torchvision(bare)]
    else:
        makers += [_of_timm(function) for function in _timm_filters(bare)]
    for make in makers:
        converted: Table | None = None
        with (
            suppress(Exception),
            warnings.catch_warnings(),
        ):  # a loader for other files fails anyhow
            warnings.simplefilter("ignore")
            converted = make(dict(table), skeleton)
        if converted and converted.keys() != table.keys() and not _resized(table, converted):
            yield converted


def _resized(before: Table, after: Table) -> bool:
    return any(before[key].numel() != after[key].numel() for key in before.keys() & after.keys())


def _by_hooks(table: Table, skeleton: Skeleton) -> Table:
    """By the layers themselves, when they are given a state dict of an earlier version."""
    module = deepcopy(skeleton.module)
    module.load_state_dict(table, strict=True, assign=True)
    return dict(module.state_dict())


def _of_torchvision(bare: str) -> _Maker:
    """By `_load_state_dict` of the architecture's module, where there is one."""
    home = sys.modules[torchvision.models.get_model_builder(bare).__module__]

    def convert(table: Table, _: Skeleton) -> Table:
        loaded: Table = {}
        model = SimpleNamespace(load_state_dict=loaded.update)
        weights = SimpleNamespace(get_state_dict=lambda **_: table)
        home._load_state_dict(model, weights, False)
        return loaded

    return convert


def _timm_filters(bare: str) -> list[Callable[..., Any]]:
    import timm  # noqa: PLC0415 - seconds, and only for its architectures

    home = sys.modules[timm.models.model_entrypoint(bare).__module__]
    return [function for name, function in vars(home).items() if _is_filter(name, function, home)]


def _is_filter(name: str, function: Any, home: ModuleType) -> bool:
    return "filter" in name and inspect.isfunction(function) and home.__name__.startswith("timm.")


def _of_timm(function: Callable[..., Any]) -> _Maker:
    def convert(table: Table, skeleton: Skeleton) -> Table:
        wants_model = len(inspect.signature(function).parameters) > 1
        converted = function(table, skeleton.module) if wants_model else function(table)
        return {key: value for key, value in converted.items() if isinstance(value, Tensor)}

    return convert
