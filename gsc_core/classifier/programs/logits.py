"""A program's one output made logits `[B,K]` of two classes or more, where that is exact.

Among several tensors the logits are chosen; a softmax or sigmoid at the end is left out; one
logit becomes two. Whatever was done is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, OutputSpec, TensorArgument
from torch.fx import Graph, Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from gsc_core.classifier.programs.graph import operator_name, shape_of
from gsc_core.errors import CheckpointError

Say = Callable[[str], None]
"""Takes a sentence about what was changed to open a network."""

_aten = torch.ops.aten

_ACTIVATIONS = {
    "aten.softmax": "softmax",
    "aten._softmax": "softmax",
    "aten.log_softmax": "log-softmax",
    "aten._log_softmax": "log-softmax",
    "aten.sigmoid": "sigmoid",
}
# What may follow an activation and leave it the last thing that counts.
_SHAPES = "view reshape flatten squeeze unsqueeze clone contiguous alias detach to _to_copy"
_INCREASING = "clamp clamp_min clamp_max add mul div log exp nan_to_num"
_AFTER_AN_ACTIVATION = frozenset(f"aten.{name}" for name in f"{_SHAPES} {_INCREASING}".split())
_LOGITS_KEYS = ("logits", "logit", "out", "output", "pred", "prediction")


def give_logits(program: ExportedProgram, name: str, say: Say = lambda _: None) -> None:
    """Make the program give logits `[B,K]`, in place.

    Raises:
        CheckpointError: none of its outputs can be logits.
    """
    outputs, keys = _outputs(program)
    images = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs)
    batch = str((shape_of(images) or ("",))[0])
    candidates = [node for node in outputs if _classes(node, batch)]
    several = [node for node in candidates if _classes(node, batch) > 1] or candidates
    if not several:
        raise CheckpointError(
            f"{name} must give one tensor of logits [batch, classes]: wrap it so that it does."
        )
    logits = _logits_among(several, dict(zip(outputs, keys, strict=True)))
    if len(outputs) > 1:
        shape = ", ".join(["batch", *map(str, (shape_of(logits) or ())[1:])])
        say(
            f"It gives {len(outputs)} tensors: {_called(outputs, keys, logits)} [{shape}] is taken "
            f"as its logits."
        )
    before = _before_activation(logits, _classes(logits, batch))
    if before is not None:
        say(f"It ends in a {before[1]}: the values before it are taken as its logits.")
        logits = before[0]
    graph = program.graph
    with graph.inserting_before(graph.output_node()):
        logits = _rows(logits)
        if _classes(logits, batch) == 1:
            zero = _call(graph, _aten.zeros_like.default, logits)
            logits = _call(graph, _aten.cat.default, [zero, logits], 1)
            say(
                "It gives one logit z per image, that of its second class: it is audited as the "
                "two logits 0 and z."
            )
    _return(program, logits)


def _outputs(program: ExportedProgram) -> tuple[list[Node], list[str]]:
    """The tensors that the program returns, and the keys of a dictionary of them."""
    (returned,) = program.graph.output_node().args
    signature = program.graph_signature.user_outputs
    assert isinstance(returned, (tuple, list))
    spec = program.call_spec.out_spec
    all_keys = list(map(str, spec.context)) if spec is not None and spec.type is dict else []
    user = list(returned)[len(returned) - len(signature) :]
    keys = all_keys if len(all_keys) == len(user) else [""] * len(user)
    pairs = [(node, key) for node, key in zip(user, keys, strict=True) if isinstance(node, Node)]
    return list({node: None for node, _ in pairs}), [key for _, key in dict(pairs).items()]


def _classes(node: Node, batch: str) -> int:
    """The number of classes if the tensor can be logits of a batch, else 0."""
    value, shape = node.meta.get("val"), shape_of(node)
    if not isinstance(value, Tensor) or not value.is_floating_point() or not shape:
        return 0
    inner = [size for size in shape[1:] if size != 1]
    if str(shape[0]) != batch or len(inner) > 1 or any(type(size) is not int for size in inner):
        return 0
    return inner[0] if inner else 1


def _logits_among(candidates: Sequence[Node], keys: dict[Node, str]) -> Node:
    """The one whose key says so, else the first from which no other is computed."""
    for wanted in _LOGITS_KEYS:
        for node in candidates:
            if keys[node].lower() == wanted:
                return node
    for node in candidates:
        if not any(other is not node and _depends(other, node) for other in candidates):
            return node
    return candidates[0]


def _depends(node: Node, on: Node) -> bool:
    todo, seen = [node], set[Node]()
    while todo:
        for source in todo.pop().all_input_nodes:
            if source is on:
                return True
            if source not in seen:
                seen.add(source)
                todo.append(source)
    return False


def _called(outputs: Sequence[Node], keys: Sequence[str], node: Node) -> str:
    index = outputs.index(node)
    return repr(keys[index]) if keys[index] else f"number {index + 1}"


def _before_activation(node: Node, classes: int) -> tuple[Node, str] | None:
    """What goes into the softmax or sigmoid that the output ends in, and its name."""
    while operator_name(node) in _AFTER_AN_ACTIVATION and _is_increasing(node):
        node = node.args[0]  # type: ignore[assignment]
    kind = _ACTIVATIONS.get(operator_name(node))
    if kind is None:
        return None
    source = node.args[0]
    assert isinstance(source, Node)
    shape = shape_of(source) or ()
    if kind != "sigmoid":
        axis = int(node.args[1]) % len(shape)  # type: ignore[arg-type]
        if axis == 0 or shape[axis] != classes or classes == 1:
            return None
    return source, kind


def _is_increasing(node: Node) -> bool:
    """Whether it works on one tensor and, where it multiplies, by a number above 0."""
    if len(node.all_input_nodes) != 1 or not isinstance(node.args[0], Node):
        return False
    if operator_name(node) not in ("aten.mul", "aten.div"):
        return True
    factor = node.args[1]
    return isinstance(factor, (int, float)) and factor > 0


def _rows(node: Node) -> Node:
    """The same values as `[B,K]`."""
    graph, shape = node.graph, shape_of(node) or ()
    if len(shape) == 1:
        return _call(graph, _aten.unsqueeze.default, node, 1)
    return node if len(shape) == 2 else _call(graph, _aten.flatten.using_ints, node, 1)


def _call(graph: Graph, operator: Any, *args: Any) -> Node:
    """A new node, with the value that the exporter would note."""
    call = graph.call_function(operator, args)
    call.meta["val"] = operator(*map_arg(args, lambda node: node.meta["val"]))
    return call


def _return(program: ExportedProgram, node: Node) -> None:
    """Make `node` the program's one output."""
    output = program.graph.output_node()
    (returned,) = output.args
    signature = program.graph_signature
    assert isinstance(returned, (tuple, list))
    others = len(signature.output_specs) - len(signature.user_outputs)
    output.args = ((*returned[:others], node),)
    result = TensorArgument(name=node.name)
    signature.output_specs[others:] = [OutputSpec(OutputKind.USER_OUTPUT, result, None)]
    call = program.module_call_graph[0].signature
    assert call is not None
    call.outputs, call.out_spec = [result], pytree.treespec_leaf()
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
