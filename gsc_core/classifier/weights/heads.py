"""A head that was put in place of the architecture's own: one linear layer, or more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from gsc_core.classifier.weights.skeleton import Skeleton
from gsc_core.classifier.weights.weight_names import Table

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ReplacedHead:
    """Where the architecture's head was, and the names of what the weights have there.

    Attributes:
        place: name of the replaced part.
        linear: name of the one linear layer; None where there are more tensors than its two.
        names: of all the layers with weights.
    """

    place: str
    linear: str | None
    names: tuple[str, ...]


def replaced_head(table: Table, skeleton: Skeleton) -> ReplacedHead | None:
    """The head that replaces the architecture's own; None where something else differs."""
    missing = {key for key in skeleton.tensors.keys() - table.keys() if not key.endswith(COUNTER)}
    added = sorted(table.keys() - skeleton.tensors.keys())
    if not added or not missing or not missing & set(skeleton.of_classes):
        return None
    place = _common([*missing, *added])
    if not place:
        return None
    names = tuple(dict.fromkeys(key.rpartition(".")[0] for key in added))
    weights = [key for key in added if table[key].ndim >= 2]
    if len(weights) != 1 or len(names) != 1 or table[weights[0]].ndim != 2:
        return ReplacedHead(place, None, names)
    fits = table[weights[0]].shape[1] in _inputs(missing, skeleton)
    plain = set(added) <= {f"{names[0]}.weight", f"{names[0]}.bias"}
    return ReplacedHead(place, names[0] if fits and plain else None, names)


def put_in(module: nn.Module, head: ReplacedHead, table: Table) -> Table:
    """Put the linear layer in its place; the table with the names it then has."""
    weight = table[f"{head.linear}.weight"]
    bias = f"{head.linear}.bias" in table
    classes, width = weight.shape
    layer = nn.Linear(width, classes, bias=bias, device=weight.device)
    module.set_submodule(head.place, nn.Sequential(nn.Flatten(1), layer))
    own = {f"{head.linear}.{end}": f"{head.place}.1.{end}" for end in ("weight", "bias")}
    return {own.get(key, key): value for key, value in table.items()}


def _common(names: Collection[str]) -> str:
    """The longest part of the layers' names that all begin with."""
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _inputs(missing: Collection[str], skeleton: Skeleton) -> set[int]:
    """How many values go into the layers that the weights lack."""
    return {skeleton.tensors[key].shape[1] for key in missing if skeleton.tensors[key].ndim >= 2}
