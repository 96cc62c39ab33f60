"""Sizes of a program's tensors: height and width made fixed, and no axis dropped by its size."""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Interpreter, Node

from gsc_core.classifier.programs.graph import operator_name, shape_of

_aten = torch.ops.aten


def fix_sizes(program: ExportedProgram, size: tuple[int, int]) -> None:
    """Fix height and width of the images, in place; the batch stays free.

    Every shape is computed again, so that a layer's feature has a size of its own.

    Raises:
        RuntimeError: the network cannot take images of this size.
    """
    name = program.graph_signature.user_inputs[0]
    values: list[Any] = []
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        value = node.meta["val"]
        if node.name == name:
            with value.fake_mode:
                value = torch.empty((*value.shape[:2], *size), dtype=value.dtype)
            node.meta["val"] = value
        values.append(value)
    with torch.no_grad(), values[-1].fake_mode:
        _Shapes(program.graph_module).run(*values, enable_io_processing=False)
    for node in list(program.graph.nodes):
        number = node.meta.get("val")
        if node.op == "call_function" and type(number) in (int, bool, float):
            node.replace_all_uses_with(number)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()


class _Shapes(Interpreter):
    """Runs a graph on tensors without values and notes what each node gives."""

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_function":
            n.meta["val"] = result
        return result


def fix_squeezes(program: ExportedProgram) -> None:
    """Let every `squeeze` drop the axes it dropped in the export, in place.

    As written it would also drop the batch when there is one image.
    """
    for node in program.graph.nodes:
        if operator_name(node) != "aten.squeeze" or not isinstance(node.args[0], Node):
            continue
        shape = shape_of(node.args[0]) or ()
        asked = node.args[1] if len(node.args) > 1 else list(range(len(shape)))
        axes = [asked] if isinstance(asked, int) else list(asked)
        ones = [int(axis) for axis in axes if _is_one(shape[int(axis)])]
        node.target, node.args = _aten.squeeze.dims, (node.args[0], ones)
    program.graph_module.recompile()


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1
