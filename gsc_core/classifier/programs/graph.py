"""Cut the graph of an exported program in two: what it takes to call a layer a cut.

A cut is a node on which everything after it depends alone. Sizes do not count: the batch size
can be read off the feature as well as off the images.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from gsc_core.errors import CheckpointError

_aten = torch.ops.aten


def operator_name(node: Node) -> str:
    """Name of a node's operator without its overload, such as `aten.conv2d`; empty for others."""
    return (
        str(getattr(node.target, "overloadpacket", node.target))
        if node.op == "call_function"
        else ""
    )


def shape_of(node: Node) -> tuple[Any, ...] | None:
    """Shape of a node's tensor, with a symbol for the batch; None when it is not a tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else None


def images_of(graph: Graph) -> Node:
    """The graph's one input."""
    images: Node = next(node for node in graph.nodes if node.op == "placeholder")
    return images


def is_size(node: Node) -> bool:
    """Whether a node is a number computed from sizes, and no tensor."""
    return node.op == "call_function" and not isinstance(
        node.meta.get("val"), (Tensor, tuple, list)
    )


def constant_of(module: GraphModule, node: Any) -> Tensor | None:
    """The parameter or buffer that a node reads; None for every other node and for no node."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: Tensor = operator.attrgetter(str(node.target))(module)
    return value.detach()


def nodes_after(graph: Graph, cut: Node) -> list[Node] | None:
    """The nodes that depend on `cut`, or None when one of them also depends on the images."""
    images = images_of(graph)
    before: set[Node] = {images}
    after: dict[Node, None] = {}
    for node in graph.nodes:
        if node is cut:
            continue
        inputs = [n for n in node.all_input_nodes if not is_size(n)]
        if cut in inputs or any(n in after for n in inputs):
            if any(n in before for n in inputs):
                return None
            after[node] = None
        elif any(n in before for n in inputs) and not is_size(node):
            before.add(node)
    output = next(iter(reversed(graph.nodes)))
    return list(after) if output in after else None


def cut_in_two(
    module: GraphModule, cut: Node | None, features: Node | None, read: Sequence[Node] = ()
) -> tuple[GraphModule | None, GraphModule]:
    """Two graph modules: images to feature, feature to the `features` of the last linear map.

    Without such the second gives the logits; without a cut there is no first. Each gives a tuple:
    its result, and those of the nodes `read` that are computed in it, in their order.
    """
    graph = module.graph
    images = images_of(graph)
    output = next(iter(reversed(graph.nodes)))
    result: Any = single(output.args[0]) if features is None else features
    if cut is None:
        return None, _subgraph(module, list(graph.nodes), images, [result, *read])
    after = set(nodes_after(graph, cut) or ())
    ordered = list(graph.nodes)
    body_nodes = [n for n in ordered[: ordered.index(cut) + 1] if n not in after]
    # what depends on neither side is constant or a size, and is computed again in the head
    depends = _depends_on(graph, images)
    head_nodes = [n for n in ordered if n in after or n not in depends or is_size(n)]
    deep = [node for node in read if node in after]
    body = _subgraph(module, body_nodes, images, [cut, *(n for n in read if n not in after)])
    return body, _subgraph(module, head_nodes, cut, [result, *deep])


def first_alone(module: GraphModule) -> GraphModule:
    """The module with the first of its results alone, in no tuple; weights are shared."""
    graph = Graph()
    results = graph.graph_copy(module.graph, {})
    assert isinstance(results, tuple)
    graph.output(results[0])
    graph.eliminate_dead_code(is_impure_node=is_impure)
    return GraphModule(module, graph)


def single(result: Any) -> Any:
    """The one thing a graph returns, out of its nested tuples."""
    while isinstance(result, (tuple, list)):
        if len(result) != 1:
            raise CheckpointError(
                "The classifier returns several tensors; export one that returns logits."
            )
        result = result[0]
    return result


def _depends_on(graph: Graph, source: Node) -> set[Node]:
    dependent = {source}
    for node in graph.nodes:
        if any(n in dependent for n in node.all_input_nodes if not is_size(n)):
            dependent.add(node)
    return dependent


def _subgraph(
    module: GraphModule, nodes: list[Node], source: Node, results: Sequence[Any]
) -> GraphModule:
    """The part of `module` made of `nodes`, with `source` as its only input."""
    graph = Graph()
    start = graph.placeholder("feature")
    start.meta = dict(source.meta)
    copies: dict[Node, Node] = {source: start}
    if _overwritten(nodes, source):
        copies[source] = graph.call_function(_aten.clone.default, (start,))
    for node in nodes:
        if node.op in ("placeholder", "output") or node is source:
            continue
        if node.op == "call_module":  # shape guards of the exporter: checked when loading
            continue
        if _is_batch_size(node, source):
            copies[node] = graph.call_function(_aten.sym_size.int, (start, 0))
            continue
        if all(n in copies for n in node.all_input_nodes):
            copies[node] = graph.node_copy(node, lambda n: copies[n])
            # a detector's feature need not lie in memory as the exported one did
            if node.target is _aten.view.default and not _overwritten(nodes, node):
                copies[node].target = _aten.reshape.default
    graph.output(tuple(copies[result] for result in results))
    graph.eliminate_dead_code(is_impure_node=is_impure)
    return GraphModule(module, graph)


def _is_batch_size(node: Node, source: Node) -> bool:
    """Whether a node reads the batch size; windows of an image have another first size."""
    if node.target is not _aten.sym_size.int or node.args[1] != 0:
        return False
    (of,) = node.all_input_nodes
    here, there = shape_of(of), shape_of(source)
    return here is not None and there is not None and str(here[0]) == str(there[0])


def _schema(node: Node) -> Any:
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def is_mutable(node: Node) -> bool:
    """Whether a node's operator writes into one of its inputs."""
    schema = _schema(node)
    return schema is not None and bool(schema.is_mutable)


def is_impure(node: Node) -> bool:
    """Whether a node must stay though nothing reads it."""
    return node.op in ("placeholder", "output") or is_mutable(node)


def _overwritten(nodes: list[Node], source: Node) -> bool:
    """Whether an in-place operator writes into `source` or a view of it."""
    aliases = {source}
    for node in nodes:
        schema = _schema(node)
        if schema is None or not node.args or node.args[0] not in aliases:
            continue
        if schema.is_mutable:
            return True
        if any(result.alias_info is not None for result in schema.returns):
            aliases.add(node)
    return False
