"""Whether anything after a program's last linear maps may hold its outputs in a range."""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from gsc_core.classifier.programs.graph import is_size, operator_name

_MAPS = "linear addmm mm matmul bmm baddbmm einsum conv1d conv2d convolution"
_LINEAR_MAPS = frozenset(f"aten.{name}" for name in _MAPS.split())
# What gives any number (or any above 0) where it gets any; and a constant, for one logit.
_MOVED = (
    "view reshape flatten squeeze unsqueeze clone contiguous alias detach to _to_copy permute "
    "transpose t expand select slice cat stack dropout zeros_like"
)
_SCALED = (
    "add sub rsub mul div neg mean avg_pool2d adaptive_avg_pool2d max_pool2d amax relu leaky_relu "
    "batch_norm"
)
_LEAVES_FREE = frozenset(f"aten.{name}" for name in f"{_MOVED} {_SCALED}".split())


def may_be_bounded(program: ExportedProgram) -> bool:
    """Whether its outputs are other than linear maps that were moved, scaled, added or averaged.

    A sigmoid written in whatever way is; so are a cap by tanh and the images themselves.
    """
    images = program.graph_signature.user_inputs
    todo, seen = list(program.graph.output_node().all_input_nodes), set[Node]()
    while todo:
        node = todo.pop()
        name = operator_name(node).removesuffix("_")
        if node in seen or name in _LINEAR_MAPS or is_size(node):
            continue
        seen.add(node)
        if node.op == "placeholder" and node.name not in images:
            continue  # a weight
        if name not in _LEAVES_FREE:
            return True
        todo += node.all_input_nodes
    return False
