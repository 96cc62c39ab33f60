"""On CUDA, a convolution and what follows it in one kernel: bias, residual sum and ReLU.

Each step of its own reads and writes the whole map again, which on a graphics card takes longer
than the convolution. cuDNN has one kernel for `relu(conv(x) + b)` and one for
`relu(conv(x) + b + z)`, the end of a residual block. Neither has a gradient, so this is for passes
that need none. Anywhere else the same functions take the steps one by one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.nn.functional import conv2d

from gsc_core.classifier.programs.graph import (
    constant_of,
    is_mutable,
    operator_name,
    shape_of,
)

_RELU = frozenset({"aten.relu", "aten.relu_"})
_SUM = frozenset({"aten.add", "aten.add_"})


def with_fused_convolutions(module: GraphModule) -> GraphModule:
    """The same function with fused convolutions, for passes without a gradient; weights shared."""
    graph = copy.deepcopy(module.graph)
    for relu in [node for node in graph.nodes if operator_name(node) in _RELU]:
        before = relu.args[0]
        if not isinstance(before, Node) or len(before.users) > 1:
            continue
        if _is_convolution(module, before) and _is_undisturbed(before, relu):
            _replace(relu, conv_relu, before)
        elif (terms := _residual(module, before)) is not None and _is_undisturbed(terms[0], relu):
            _replace(relu, conv_add_relu, *terms)
    return GraphModule(module, graph)


def conv_relu(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """`relu(conv(x) + bias)` for images `x [B,C,H,W]`."""
    if not x.is_cuda:
        return conv2d(x, weight, bias, stride, padding, dilation).relu_()
    x, bias = x.to(weight.dtype), bias.to(weight.dtype)
    return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, dilation, 1)


def conv_add_relu(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, dilation: Any, z: Tensor
) -> Tensor:
    """`relu(conv(x) + bias + z)` for images `x [B,C,H,W]` and `z` in the shape of the result."""
    if not x.is_cuda:
        return conv2d(x, weight, bias, stride, padding, dilation).add_(z).relu_()
    x, bias, z = x.to(weight.dtype), bias.to(weight.dtype), z.to(weight.dtype)
    return torch.cudnn_convolution_add_relu(x, weight, z, 1.0, bias, stride, padding, dilation, 1)


def _is_convolution(module: GraphModule, node: Any) -> bool:
    """Whether a node is a plain convolution with weights and bias that are constants."""
    if not isinstance(node, Node) or operator_name(node) != "aten.conv2d" or node.kwargs:
        return False
    _, weight, bias, *_, groups = _arguments(node)
    fixed = constant_of(module, weight) is not None and constant_of(module, bias) is not None
    return fixed and groups == 1 and not any(isinstance(argument, str) for argument in node.args)


def _arguments(node: Node) -> tuple[Any, ...]:
    """Input, weight, bias, stride, padding, dilation and groups of a convolution."""
    usual = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
    return *node.args, *usual[len(node.args) :]


def _is_undisturbed(convolution: Node, relu: Node) -> bool:
    """Whether nothing between the two writes into a tensor, but for a sum that becomes theirs."""
    node = convolution.next
    while node is not relu:
        if node is not relu.args[0] and is_mutable(node):
            return False
        node = node.next
    return True


def _residual(module: GraphModule, node: Any) -> tuple[Node, Node] | None:
    """The convolution and the other term of a sum that nothing else reads the convolution of."""
    if not isinstance(node, Node) or operator_name(node) not in _SUM or node.kwargs:
        return None
    first, second = node.args[:2]
    orders = [(first, second), (second, first)][: 2 if operator_name(node) == "aten.add" else 1]
    for convolution, other in orders:
        if not isinstance(convolution, Node) or not isinstance(other, Node):
            continue
        if not _is_convolution(module, convolution) or len(convolution.users) > 1:
            continue
        if other is not convolution and shape_of(other) == shape_of(convolution) is not None:
            return convolution, other
    return None


def _replace(relu: Node, function: Any, convolution: Node, *others: Node) -> None:
    """Let `function` give what `relu` gave."""
    graph, between = relu.graph, relu.all_input_nodes[0]
    with graph.inserting_before(relu):
        fused = graph.call_function(function, (*_arguments(convolution)[:-1], *others))
        fused.meta = dict(relu.meta)
    relu.replace_all_uses_with(fused)
    for node in dict.fromkeys((relu, between, convolution)):
        graph.erase_node(node)
