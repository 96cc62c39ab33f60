"""Regions of a graph under `no_grad` or autocast, put back among the other operators.

A region is a graph of its own, which no layer inside of can be cut, and through which no gradient
flows. Values stay as they are without `no_grad`; without autocast they are more precise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

_GRADIENT = torch.ops.higher_order.wrap_with_set_grad_enabled
_AUTOCAST = torch.ops.higher_order.wrap_with_autocast
REGIONS = frozenset({_GRADIENT, _AUTOCAST})
"""The operators that a region is called by."""

_SETTINGS = {_GRADIENT: 1, _AUTOCAST: 4}  # how many arguments come before the region


def without_regions(program: ExportedProgram, say: Callable[[str], None] = lambda _: None) -> bool:
    """Replace every region of the program by its operators, in place; whether there was one."""
    module = program.graph_module
    names = _inline(module)
    _without_detaching(module.graph)
    if not names:
        return False
    if _AUTOCAST in names:
        for node in list(module.graph.nodes):  # they insist on the precision of autocast
            if node.target is torch.ops.aten._assert_tensor_metadata.default:
                module.graph.erase_node(node)
        say("Its autocast regions are computed in the precision of all its other layers.")
    if _GRADIENT in names:
        say("Its regions without gradients (no_grad) are computed with gradients.")
    module.graph.eliminate_dead_code()
    module.recompile()
    return True


def _inline(module: GraphModule) -> set[object]:
    called: set[object] = set()
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in REGIONS:
            continue
        called.add(node.target)
        settings = _SETTINGS[node.target]
        region, *arguments = node.args[settings:]
        assert isinstance(region, Node)
        inner = getattr(module, str(region.target))
        if node.target is _AUTOCAST and not node.args[2]:  # autocast that was turned off
            called.discard(_AUTOCAST)
        called |= _inline(inner)
        _replace(module.graph, node, inner.graph, arguments)
    return called


def _without_detaching(graph: Graph) -> None:
    """`detach` gives the same values, and stops the gradient for no reason that counts here."""
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _replace(graph: Graph, call: Node, inner: Graph, arguments: list[object]) -> None:
    placeholders = [node for node in inner.nodes if node.op == "placeholder"]
    copies = dict(zip(placeholders, arguments, strict=True))
    with graph.inserting_before(call):
        for node in inner.nodes:
            if node.op not in ("placeholder", "output"):
                copies[node] = graph.node_copy(node, lambda n: copies[n])
    (results,) = inner.output_node().args
    for user in list(call.users):
        assert user.target is operator.getitem
        assert isinstance(results, (tuple, list))
        user.replace_all_uses_with(copies[results[user.args[1]]])  # type: ignore[index]
        graph.erase_node(user)
    graph.erase_node(call)
