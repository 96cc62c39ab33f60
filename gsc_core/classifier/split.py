"""The layers at which a classifier can be cut, found on its graph without running it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from gsc_core.classifier.programs.graph import images_of, nodes_after, operator_name, shape_of
from gsc_core.classifier.programs.operations import operations
from gsc_core.errors import SpecError

# A head made of these alone is linear in the feature: its gradient is the same for every image of
# a class, and the first-order update is exact.
_LINEAR_OPERATORS = frozenset(
    {
        "aten.linear",
        "aten.adaptive_avg_pool2d",
        "aten.avg_pool2d",
        "aten.mean",
        "aten.view",
        "aten.reshape",
        "aten.flatten",
        "aten.squeeze",
        "aten.select",
        "aten.slice",
        "aten.permute",
        "aten.transpose",
        "aten.contiguous",
        "aten.clone",
        "aten.dropout",
        "aten.conv2d",
        "aten.batch_norm",
        "aten.sym_size",
    }
)
_CHANNELS_SECOND = frozenset(
    {
        "aten.conv2d",
        "aten.conv_transpose2d",
        "aten.convolution",
        "aten.batch_norm",
        "aten.group_norm",
        "aten.max_pool2d",
        "aten.avg_pool2d",
        "aten.adaptive_avg_pool2d",
    }
)
_BLOCK_OPERATORS = frozenset({"aten.conv2d", "aten.convolution", "aten.linear", "aten.addmm"})
_LEAST, _MOST = 0.01, 0.4  # shares of the operations


@dataclass(frozen=True)
class Split:
    """A layer at which the network can be cut.

    `shape` is one image's feature, `[C,H,W]`, `[H,W,C]` or tokens `[N,C]`; `channel` is the index
    of the channel axis in the batched tensor. `block` tells a composite layer (at least two
    convolutions or linear maps), `linear` that everything after the cut is linear. `aliases` are
    layers that end in the same tensor. `behind` is the share of the network's operations after it.
    """

    name: str
    shape: tuple[int, ...]
    channel: int
    block: bool
    linear: bool
    aliases: tuple[str, ...] = ()
    behind: float = 0.0


def splits(program: ExportedProgram) -> list[Split]:
    """Every layer the network can be cut at, in the order of execution.

    A layer qualifies when its output is a feature map or a token sequence (4-D or 3-D with the
    batch first) and everything after depends on it alone: inside a residual branch there is no cut.
    """
    return [split for split, _ in candidates(program.module(check_guards=False))]


def default_split(splits: list[Split]) -> Split | None:
    """The deepest block with a non-linearity and a small share of the operations after it.

    Behind a linear head all images of a class have one gradient; with next to nothing behind the
    cut it says little, and with most of the network there it costs as much as the network.
    """
    blocks = [split for split in splits if split.block]
    for group in (blocks, splits):
        for low, high in ((_LEAST, _MOST), (0.0, _MOST), (0.0, 1.0)):
            some = [s for s in group if not s.linear and low <= s.behind <= high]
            if some:
                return some[-1]
    return next(iter(reversed(blocks or splits)), None)


def choose(splits: list[Split], name: str | None) -> Split | None:
    """The split of that name, or the default; raises SpecError with the nearest names."""
    if name is None:
        return default_split(splits)
    for split in splits:
        if name == split.name or name in split.aliases:
            return split
    names = [name for split in splits for name in (split.name, *split.aliases)]
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.3) or names[-4:]
    raise SpecError(
        f"The network cannot be cut at a layer named {name!r}; nearest: {', '.join(near)} "
        "(`gsc splits` lists all)."
    )


def _layers(graph: Graph) -> dict[str, list[Node]]:
    """Nodes by the layer they belong to; layers that are called more than once are left out."""
    nodes: dict[str, list[Node]] = defaultdict(list)
    calls: dict[str, set[str]] = defaultdict(set)
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        for call, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            name = str(path).removeprefix("L['self'].")
            if name:
                nodes[name].append(node)
                calls[name].add(str(call))
    return {name: members for name, members in nodes.items() if len(calls[name]) == 1}


def candidates(module: GraphModule) -> list[tuple[Split, Node]]:
    """Every split of a graph module with the node it cuts at, in the order of execution."""
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    images = images_of(module.graph)
    batch = shape_of(images)
    cost = {node: operations(node) for node in module.graph.nodes}
    whole = sum(cost.values()) or 1
    by_node: dict[Node, tuple[Split, Node]] = {}
    for name, members in _layers(module.graph).items():
        node = members[-1]
        shape = shape_of(node)
        if shape is None or batch is None or not _is_feature(shape, batch[0]):
            continue
        after = nodes_after(module.graph, node)
        if after is None:
            continue
        maps = sum(operator_name(member) in _BLOCK_OPERATORS for member in members)
        behind = sum(cost[member] for member in after) / whole
        axis, linear = _channel_axis(node), _is_linear(after)
        split = Split(name, shape[1:], axis, maps >= 2, linear, behind=behind)
        by_node[node] = (_merge(by_node[node][0], split) if node in by_node else split, node)
    return sorted(by_node.values(), key=lambda pair: order[pair[1]])


def _is_feature(shape: tuple[Any, ...], batch: Any) -> bool:
    """Feature maps and token sequences: the batch first, fixed sizes, more than one position."""
    if len(shape) not in (3, 4) or str(shape[0]) != str(batch):
        return False
    sizes = shape[1:]
    return all(isinstance(size, int) for size in sizes) and sum(size > 1 for size in sizes) > 1


def _merge(a: Split, b: Split) -> Split:
    """Layers that end in the same tensor are one cut: the outermost names it, a block if any."""
    name, *others = sorted((a.name, b.name, *a.aliases, *b.aliases), key=lambda n: (len(n), n))
    return replace(a, name=name, block=a.block or b.block, aliases=tuple(others))


def _channel_axis(node: Node) -> int:
    """Index of the channel axis: last in tokens, and in maps where the operators before have it.

    Shapes alone do not tell: `[8,8,12]` can be 8 channels or 12. So the way back is walked, through
    what moves no axis, to an operator that is clear about it.
    """
    shape = shape_of(node) or ()
    if len(shape) == 3:
        return 2
    axes = list(range(4))  # where each axis of the cut is in the node at hand
    while node.op == "call_function":
        name = operator_name(node)
        if name in _CHANNELS_SECOND:
            return axes.index(1)
        if name == "aten.linear" or (name == "aten.layer_norm" and len(_sizes(node)) == 1):
            return axes.index(3)
        source = next((n for n in node.all_input_nodes if n.op != "get_attr" and shape_of(n)), None)
        before, here = (shape_of(n) or () if n is not None else () for n in (source, node))
        if source is None or len(before) not in (3, 4):
            break
        if len(before) == 3:  # [N,C] to [H,W,C], or [C,N] to [C,H,W]
            return axes.index(3 if before[2] == here[3] else 1)
        moved = _moved(node)
        axes = [moved[axis] for axis in axes]
        node = source
    if node.op == "placeholder":
        return axes.index(1)
    return 3 if shape[1] == shape[2] != shape[3] else 1


def _moved(node: Node) -> list[int]:
    """For each axis of a 4-D node, which axis of its input it is."""
    axes = list(range(4))
    if operator_name(node) == "aten.permute":
        return [axes[axis] for axis in _sizes(node)]
    if operator_name(node) == "aten.transpose":
        a, b = (axes[int(axis)] for axis in node.args[1:3])  # type: ignore[arg-type]
        axes[a], axes[b] = b, a
    return axes


def _sizes(node: Node) -> list[int]:
    sizes: list[int] = list(node.args[1])  # type: ignore[arg-type]
    return sizes


def _is_linear(nodes: list[Node]) -> bool:
    return all(
        operator_name(node) in _LINEAR_OPERATORS for node in nodes if node.op == "call_function"
    )
