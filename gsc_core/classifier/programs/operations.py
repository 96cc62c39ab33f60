"""How many operations each node of a graph costs, for the share of a network behind a cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import Node

from gsc_core.classifier.programs.graph import operator_name

_BATCH = 2  # stands for whatever size is free: a share does not depend on it


def operations(node: Node) -> int:
    """Multiplications of a convolution, linear map, matrix product or attention.

    Any other operator counts one operation a value it gives.
    """
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor):
        return 0
    sources = [_sizes(n) for n in node.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
    factor = 1
    match operator_name(node).removeprefix("aten.").removesuffix("_"):
        case "conv1d" | "conv2d" | "conv3d" | "convolution" | "conv_transpose2d":
            factor = math.prod(sources[1][1:])
        case "linear" | "matmul" | "mm" | "bmm" | "mv":
            factor = sources[0][-1]
        case "addmm" | "baddbmm":
            factor = sources[1][-1]
        case "scaled_dot_product_attention":
            queries, keys, values = sources[:3]
            return math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])
        case "einsum":
            return _einsum(str(node.args[0]), sources)
    return factor * math.prod(_sizes(node))


def _sizes(node: Node) -> tuple[int, ...]:
    return tuple(map(_number, node.meta["val"].shape))


def _number(size: Any) -> int:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression.xreplace(dict.fromkeys(expression.free_symbols, _BATCH)))


def _einsum(equation: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """The product of all sizes that have a letter."""
    sizes: dict[str, int] = {}
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    for term, shape in zip(terms, shapes, strict=False):
        letters = term.replace("...", "")
        sizes |= dict(zip(letters[::-1], shape[::-1], strict=False))
    return math.prod(sizes.values())
