"""Fold batch norms into the convolutions before them: the same numbers in less time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from gsc_core.classifier.programs.graph import constant_of, is_impure, operator_name

_AFFINE = {"aten.conv2d": (1, 2), "aten.linear": (1, 2), "aten.addmm": (0, 2)}
"""Where the weights and biases stand that autocast rounds."""


def fold_batch_norms(module: GraphModule) -> None:
    """Fold, in place, every batch norm of frozen statistics that alone reads a convolution.

    `γ (conv(x) − μ) / √(σ² + ε) + β` is a convolution with weight `w γ/√(σ²+ε)`; logits move by
    rounding alone (1e-6 of their size in float32).
    """
    for norm in [n for n in module.graph.nodes if operator_name(n) == "aten.batch_norm"]:
        conv = norm.args[0]
        if operator_name(conv) == "aten.conv2d" and len(conv.users) == 1 and not norm.args[5]:
            _fold(module, conv, norm)
    module.recompile()


def _fold(module: GraphModule, conv: Node, norm: Node) -> None:
    bias_node = conv.args[2] if len(conv.args) > 2 else None
    nodes = (conv.args[1], bias_node, *norm.args[1:5])
    values = [constant_of(module, node) for node in nodes]
    if any(value is None for node, value in zip(nodes, values, strict=True) if node is not None):
        return  # a weight or bias that is computed has no fixed value to fold into
    weight, bias, gamma, beta, mean, variance = values
    if weight is None or mean is None or variance is None:
        return
    double = torch.double if weight.device.type != "mps" else torch.float  # which has no doubles
    scale = torch.rsqrt(variance.to(double) + float(norm.args[7]))  # type: ignore[arg-type]
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale if bias is None else (bias - mean) * scale
    shift = shift if beta is None else shift + beta
    with module.graph.inserting_before(conv):
        parts = {"weight": weight * scale.view(-1, 1, 1, 1), "bias": shift}
        folded = [_keep(module, f"{norm.name}_{k}", v.to(weight.dtype)) for k, v in parts.items()]
    conv.args = (conv.args[0], *folded, *conv.args[3:])
    norm.replace_all_uses_with(conv)
    module.graph.erase_node(norm)


def round_weights(module: GraphModule, dtype: torch.dtype) -> None:
    """Round, in place and once, what autocast would round again in each pass: weights and biases.

    Autocast leaves what has the type already as it is, so the results are the same bits.
    """
    for node in [n for n in module.graph.nodes if operator_name(n) in _AFFINE]:
        for index in _AFFINE[operator_name(node)]:
            source = node.args[index] if index < len(node.args) else None
            value = constant_of(module, source)
            if value is not None and value.dtype == torch.float32:
                with module.graph.inserting_before(node):
                    rounded = _keep(module, f"{node.name}_{index}", value.to(dtype))
                node.update_arg(index, rounded)
    module.graph.eliminate_dead_code(is_impure_node=is_impure)
    module.recompile()


def _keep(module: GraphModule, name: str, value: Tensor) -> Node:
    module.register_buffer(f"folded_{name}", value)
    return module.graph.get_attr(f"folded_{name}")
