"""Averages over training that are lists without names, in the order of the network's parameters.

So `torch_ema` and `diffusers` save them, as `shadow_params`. What is not a parameter, such as the
statistics of batch norms, is not among them and comes from the weights beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from gsc_core.classifier.weights.networks_in_file import networks_in
from gsc_core.classifier.weights.skeleton import Skeleton
from gsc_core.classifier.weights.weight_names import Table, is_average, of_training
from gsc_core.errors import CheckpointError

_SET_ASIDE = "collected_params"  # of `torch_ema`: the plain weights, while the average is tried
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def with_names(table: Table, start: Skeleton, file: str) -> Table:
    """The table with unnamed averages under the names of the network's weights.

    A list that fits no network in the file, and whose length is not the architecture's, is left
    as it is. Raises CheckpointError where only the statistics beside it are missing.
    """
    lists = dict(_lists(table))
    if not lists:
        return table
    named = {k: v for k, v in table.items() if k.rpartition(".")[0] not in lists}
    result = dict(named)
    for prefix, tensors in lists.items():
        own = _beside(named, tensors, start) or _by_architecture(tensors, start, file)
        result |= {f"{prefix}.{key}": value for key, value in (own or _numbered(tensors)).items()}
    return result


def _lists(table: Table) -> Iterator[tuple[str, list[Tensor]]]:
    """Lists of tensors whose name says that they are an average, by what is before the number."""
    for prefix in dict.fromkeys(key.rpartition(".")[0] for key in table):
        if not is_average(prefix) or f"{prefix}.0" not in table:
            continue
        if prefix.endswith(_SET_ASIDE):
            continue
        members = [key for key in table if key.rpartition(".")[0] == prefix]
        if set(members) == {f"{prefix}.{at}" for at in range(len(members))}:
            yield prefix, [table[f"{prefix}.{at}"] for at in range(len(members))]


def _numbered(tensors: Sequence[Tensor]) -> Table:
    return {str(at): tensor for at, tensor in enumerate(tensors)}


def _beside(table: Table, tensors: Sequence[Tensor], start: Skeleton) -> Table | None:
    """By the names of other weights in the file, with what of these is not a parameter."""
    buffers = dict(start.module.named_buffers())
    for network in networks_in(table, start.tensors):
        own = {k: v for k, v in network.table.items() if not of_training(k, v) or k in buffers}
        fixed = {k for k in own if k in buffers or k.endswith(_BUFFERS)}
        parameters = [key for key in own if key not in fixed]
        if [own[key].shape for key in parameters] == [tensor.shape for tensor in tensors]:
            named = dict(zip(parameters, tensors, strict=True))
            return named | {key: own[key] for key in fixed}
    return None


def _by_architecture(tensors: Sequence[Tensor], start: Skeleton, file: str) -> Table | None:
    """By the names of the architecture's parameters, where there are as many."""
    names = [name for name, _ in start.module.named_parameters()]
    shapes = zip(names, tensors, strict=False)
    unlike = sum(start.tensors[name].shape != tensor.shape for name, tensor in shapes)
    if len(names) != len(tensors) or unlike > len(start.of_classes):
        return None
    statistics = [key for key in start.tensors if key.endswith(_BUFFERS[:2])]
    if statistics:
        raise CheckpointError(
            f"{file} holds an average of the parameters of {start.architecture} alone, without "
            f"the statistics of its batch norms ({statistics[0]}): save the state dict of the "
            "network beside it, or with the average copied into the network."
        )
    return dict(zip(names, tensors, strict=True))
