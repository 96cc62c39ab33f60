"""Forward-mode derivatives without products by zero.

PyTorch's rule for a convolution or a linear map multiplies the input by the derivative of the
weights as well. Fixed weights have none, and it takes zeros for it: a third product beside the two
that are needed.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from gsc_core.classifier.programs.graph import constant_of, operator_name

_AFFINE = frozenset({"aten.conv2d", "aten.convolution", "aten.linear"})


def with_fixed_weights(module: GraphModule) -> GraphModule:
    """The same function, whose affine maps are differentiated along their inputs alone."""
    graph = copy.deepcopy(module.graph)
    for node in graph.nodes:
        if operator_name(node) in _AFFINE and _is_fixed(module, node):
            source, weight, *rest = node.args
            bias, *others = rest or [None]
            node.args = (node.target, source, weight, bias, *others)
            node.target = affine
    return GraphModule(module, graph)


def affine(operator: Any, source: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Any:
    """`operator(source, weight, bias, *rest)`, a convolution or a linear map."""
    return _Affine.apply(operator, source, weight, bias, *rest)


def _is_fixed(module: GraphModule, node: Node) -> bool:
    """Whether weight and bias are constants, given by position."""
    parameters = [parameter for parameter in node.args[1:3] if parameter is not None]
    return not node.kwargs and all(
        constant_of(module, parameter) is not None for parameter in parameters
    )


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(operator: Any, source: Tensor, *rest: Any) -> Any:
        return operator(source, *rest)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.operator, _, ctx.weight, _, *ctx.rest = inputs

    @staticmethod
    def jvp(ctx: Any, _: None, along: Tensor, *__: None) -> Any:
        return ctx.operator(along, ctx.weight, None, *ctx.rest)
