"""The first batch norm of a network, which remembers what its inputs were like in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node

from gsc_core.classifier.programs.graph import constant_of, operator_name, shape_of

_NORMS = frozenset(
    {
        "aten.batch_norm",
        "aten._native_batch_norm_legit_no_training",
        "aten.native_batch_norm",
        "aten.cudnn_batch_norm",
    }
)
_CONVOLUTIONS = frozenset({"aten.conv2d", "aten.convolution"})
_MOST_CONVOLUTIONS = 2  # before it: deeper ones see what images show, and no longer their scale


@dataclass(frozen=True)
class FirstNorm:
    """A batch norm near the images, with the mean and variance `[C]` that training left in it."""

    module: GraphModule
    node: Node
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, program: ExportedProgram) -> FirstNorm | None:
        """None where there is none near the images, or it was never trained."""
        module = program.module(check_guards=False)
        convolutions = 0
        for node in module.graph.nodes:
            convolutions += operator_name(node) in _CONVOLUTIONS
            if operator_name(node) in _NORMS:
                break
        else:
            return None
        mean, variance = (constant_of(module, node.args[place]) for place in (3, 4))
        if convolutions > _MOST_CONVOLUTIONS or len(shape_of(node.args[0]) or ()) != 4:
            return None
        if mean is None or variance is None or bool((mean == 0).all() and (variance == 1).all()):
            return None
        return cls(module, node, mean, variance)

    def misfit(self, images: Tensor) -> float:
        """How far the inputs are from those of training: 0 for the same, 0.7 for twice the spread.

        The median over channels of the difference of means, in deviations, and of the logarithm
        of the quotient of deviations, together. `images` are preprocessed, `[N,C,H,W]`.
        """
        inputs = self._inputs(images)
        variance, mean = torch.var_mean(inputs, dim=(0, 2, 3))
        alive = (variance > _DEAD) & (self.variance > _DEAD)
        if not bool(alive.any()):
            return float("inf")
        deviation, in_training = variance[alive].sqrt(), self.variance[alive].sqrt()
        shift = (mean - self.mean)[alive] / torch.maximum(deviation, in_training)
        return float(torch.hypot(shift, (deviation / in_training).log()).median())

    def _inputs(self, images: Tensor) -> Tensor:
        """What arrives at it, `[N,C,h,w]`."""
        reader = _UntilNode(self.module, self.node)
        with torch.no_grad():
            reader.run(images)
        assert reader.inputs is not None
        return reader.inputs


_DEAD = 1e-12  # the variance of a channel that is always the same


class _UntilNode(Interpreter):
    """Runs a graph as far as one node, and none after it."""

    def __init__(self, module: GraphModule, last: Node) -> None:
        super().__init__(module)
        self.last = last
        self.inputs: Tensor | None = None

    def run_node(self, n: Node) -> Any:
        """The node's value; None from `last` on, whose first argument is remembered."""
        if self.inputs is not None:
            return None
        if n is self.last:
            self.inputs = self.fetch_args_kwargs_from_env(n)[0][0]
            return None
        return super().run_node(n)
