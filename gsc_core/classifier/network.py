"""A classifier cut in body and head at a named layer.

Every classifier is a :class:`torch.export.ExportedProgram`, so the cut is made on its graph and not
with hooks: the head is a function of the feature alone and can be run again without the body.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule, Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from gsc_core.classifier.arithmetic import Precision
from gsc_core.classifier.attention import batch_first, read_one_token
from gsc_core.classifier.float64 import double
from gsc_core.classifier.folding import fold_batch_norms, round_weights
from gsc_core.classifier.fusing import with_fused_convolutions
from gsc_core.classifier.guard import running
from gsc_core.classifier.principal import principal
from gsc_core.classifier.programs.graph import (
    constant_of,
    cut_in_two,
    first_alone,
    images_of,
    operator_name,
    shape_of,
    single,
)
from gsc_core.classifier.split import candidates, choose
from gsc_core.classifier.stages import channel_mean, described, stages
from gsc_core.classifier.tangent import with_fixed_weights
from gsc_core.errors import CheckpointError

_PASS_THROUGH = frozenset(
    f"aten.{name}" for name in ("view", "reshape", "flatten", "squeeze", "unsqueeze", "clone")
)

_NEAR = 1e-6  # of the squared lengths of two classes' weights is their squared distance
_PAIRS = 2048  # of classes at once

_one_at_a_time = threading.Lock()  # PyTorch's forward mode has one level for all threads

R = TypeVar("R")
Forward = Callable[[Tensor], Tensor]
Profiled = Callable[[Tensor], tuple[Tensor, ...]]
"""A result, and the channel means `[B,C]` of each stage that ends on the way to it."""


@dataclass(frozen=True)
class Linear:
    """The last linear map of a classifier: `logits = features @ weight.T + bias`.

    What detectors derive from it, for each fit, is computed once.
    """

    weight: Tensor  # [K,D]
    bias: Tensor  # [K]

    @cached_property
    def origin(self) -> Tensor:
        """The feature `[D]` nearest to zero at which all logits are 0, in float64."""
        lengths, directions = self._principal
        # what float32 weights cannot tell from 0 must not be inverted
        noise = torch.finfo(torch.float32).eps * max(self.weight.shape)
        filled = lengths > noise * lengths[-1]
        lengths, directions = lengths[filled], directions[:, filled]
        along = directions.T @ (double(self.weight).T @ double(self.bias))
        return -directions @ (along / lengths.square())

    @cached_property
    def directions(self) -> Tensor:
        """The right singular vectors `[D,R]` of the weights, the longest first, in float64."""
        return self._principal[1].flip(1)

    @cached_property
    def _principal(self) -> tuple[Tensor, Tensor]:
        return principal(double(self.weight))

    @cached_property
    def closeness(self) -> Tensor:
        """`1 / ‖w_p − w_c‖` `[K,K]` of the weights of all pairs of classes, 0 where they agree."""
        weight = double(self.weight)
        lengths = weight.square().sum(dim=1)
        reach = lengths[:, None] + lengths
        squared = (reach - 2 * weight @ weight.T).fill_diagonal_(0)
        # of weights that nearly agree the product holds rounding alone
        for near in torch.split((squared < _NEAR * reach).nonzero(), _PAIRS):
            one, other = near.unbind(dim=1)
            squared[one, other] = (weight[one] - weight[other]).square().sum(dim=1)
        return torch.where(squared > 0, squared.rsqrt(), 0).to(self.weight)

    def __call__(self, features: Tensor) -> Tensor:
        """Logits `[…,K]` of features `[…,D]`."""
        return torch.nn.functional.linear(features, self.weight, self.bias)


class Network:
    """A classifier cut in two, on one device: `head(body(images))`.

    Attributes:
        split: where it is cut, or None when no layer can be cut (then `body` is the identity).
        stages: where the layer profile is read, in the order of execution; empty when no layer
            can be cut.
        linear: the last linear map, or None when the network does not end in one. It is computed
            in float32, whatever the precision of the layers before it.
        precision: of all other layers; None leaves PyTorch's flags as they are found.
    """

    @running("The model")
    def __init__(
        self,
        program: ExportedProgram,
        split: str | None = None,
        device: torch.device | str = "cpu",
        precision: Precision | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.precision = precision
        graph_module = _on_device(program, self.device)
        self.memory_format = _fastest_format(graph_module, self.device)
        splits = candidates(graph_module)
        self.split = choose([item for item, _ in splits], split)
        node = next((node for item, node in splits if item is self.split), None)
        linear = _last_linear(graph_module)
        self.linear: Linear | None = None
        if linear is not None:
            parameters = _linear_parameters(graph_module, linear)
            self.linear = Linear(*_of_two_classes(*parameters))
        ends = stages(splits)
        self.stages = described(ends)
        body, head = cut_in_two(
            graph_module,
            node,
            None if linear is None else _features_of(linear),
            [channel_mean(graph_module, end) for end in ends],
        )
        for part in (body, head):
            if part is not None:
                fold_batch_norms(part)
                batch_first(part)
                read_one_token(part)
                if precision is Precision.BF16:
                    round_weights(part, torch.bfloat16)
        self._body, self._head = None if body is None else first_alone(body), first_alone(head)
        self._profiled_body, self._profiled_head = body, head
        self._run_fast_as(lambda part: part)
        self._alone = self._runs_alone(_probe(graph_module, self.device, 1))
        if self.device.type == "cuda":
            self._fuse(_probe(graph_module, self.device, 2))

    def body(self, images: Tensor) -> Tensor:
        """Feature at the split `[B,*split.shape]` of preprocessed images `[B,3,H,W]`; no graph."""
        if self._fast_body is None:
            return images
        with torch.no_grad(), self._forward():
            return self._run(self._fast_body, images.to(memory_format=self.memory_format))

    def profiled_body(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `body`, with the channel means `[B,C]` of each stage that ends in it; no graph."""
        if self._fast_profiled_body is None:
            return images, ()
        with torch.no_grad(), self._forward():
            feature, *means = self._run(
                self._fast_profiled_body, images.to(memory_format=self.memory_format)
            )
        return feature, tuple(means)

    def profiled_head(self, feature: Tensor) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """As `head_and_features`, with the channel means of each further stage, detached."""
        head = self._profiled_head if torch.is_grad_enabled() else self._fast_profiled_head
        with self._forward():
            result, *means = self._run(head, feature)
        return *self._ended(result), tuple(mean.detach() for mean in means)

    def head(self, feature: Tensor) -> Tensor:
        """Logits `[B,K]` of the feature at the split; differentiable."""
        return self.head_and_features(feature)[0]

    def head_and_features(self, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[B,K]` and the input of the last linear map `[B,D]` (None without one).

        Both are float32, and differentiable.
        """
        return self._through(self._head if torch.is_grad_enabled() else self._fast_head, feature)

    def gradient(self, output: Tensor, at: Tensor) -> Tensor:
        """Gradient, in the shape of `at`, of the sum of `output`, which was computed from it."""
        with self.flags():
            (gradient,) = torch.autograd.grad(output.sum(), at)
        return gradient

    def compiled(self) -> Network:
        """This network with its forward passes compiled, which begins at the first of them.

        Passes with a gradient stay as they are: the graphs that autograd records of a compiled
        export may hold activations of an earlier batch (pytorch issues 146719, 187907).
        """
        twin = copy.copy(self)
        # dynamic: the last batch is smaller
        twin._run_fast_as(lambda part: torch.compile(part, dynamic=True))
        return twin

    def flags(self) -> AbstractContextManager[None]:
        """For a backward pass of one's own: open while it runs."""
        return nullcontext() if self.precision is None else self.precision.flags(self.device)

    def _run_fast_as(self, form: Callable[[GraphModule], Any]) -> None:
        """What runs where no gradient is asked for: the same functions, in a faster form."""
        self._fast_body: Forward | None = None if self._body is None else form(self._body)
        self._fast_head: Forward = form(self._head)
        profiled = self._profiled_body
        self._fast_profiled_body: Profiled | None = None if profiled is None else form(profiled)
        self._fast_profiled_head: Profiled = form(self._profiled_head)

    def _fuse(self, images: Tensor) -> None:
        """Fuse convolutions, unless cuDNN has no kernel for one of them; a small run tells."""
        self._run_fast_as(with_fused_convolutions)
        try:
            with torch.no_grad():
                self.head(self.body(images))
        except (RuntimeError, CheckpointError):
            self._run_fast_as(lambda part: part)

    def _through(self, head: Forward, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        with self._forward():
            result = self._run(head, feature)
        return self._ended(result)

    def _ended(self, result: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits and features, of what the head gives."""
        features = result.float()
        return (features, None) if self.linear is None else (self.linear(features), features)

    @contextmanager
    def _forward(self) -> Iterator[None]:
        if self.precision is None:
            yield
            return
        with self.precision.flags(self.device), self.precision.autocast(self.device):
            yield

    def first_order(self, feature: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B,K]` and their derivative along `change`, in one forward-mode pass."""
        batch: Any = feature.shape[0]
        if isinstance(batch, torch.SymInt):
            return _by_two_gradients(self.head, feature.detach(), change)
        # The fused attention kernels have no forward-mode derivative. A dual tensor by itself costs
        # a small network half of what `torch.func.jvp` does.
        with (
            _one_at_a_time,
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            self.flags(),
            forward_ad.dual_level(),
        ):
            dual = forward_ad.make_dual(feature.detach(), change)  # type: ignore[no-untyped-call]
            both = self._to_differentiate(dual)
            result, tangent = forward_ad.unpack_dual(both)  # type: ignore[no-untyped-call]
            along = torch.zeros_like(result) if tangent is None else tangent
            if self.linear is None:
                return result, along
            return self.linear(result), torch.nn.functional.linear(along, self.linear.weight)

    def _to_differentiate(self, feature: Tensor) -> Tensor:
        """The head, up to the last linear map, for a pass in forward mode."""
        with self._forward():
            result: Tensor = self._run(self._forward_mode_head, feature)
            return result.float()

    @cached_property
    def _forward_mode_head(self) -> GraphModule:
        return with_fixed_weights(self._head)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits `[B,K]` of preprocessed images; differentiable down to the pixels."""
        if self._body is None:
            return self.head(images)
        with self._forward():
            feature: Tensor = self._run(self._body, images)
        return self.head(feature)

    @running("The model")
    def _run(self, part: Callable[[Tensor], R], batch: Tensor) -> R:
        """A part of the network on a batch; one image goes twice where one alone does not work."""
        size: Any = batch.shape[0]
        if self._alone or not (isinstance(size, torch.SymInt) or size == 1):
            return part(batch)
        twice: Any = part(torch.cat([batch, batch[:1]]))
        whole = isinstance(twice, Tensor)
        once: Any = twice[:-1] if whole else tuple(tensor[:-1] for tensor in twice)
        result: R = once
        return result

    def _runs_alone(self, images: Tensor) -> bool:
        """Whether a batch of one image is worked on like any other, by one small run."""
        try:
            with torch.no_grad(), self._forward():
                feature = images if self._body is None else self._body(images)
                results = feature, self._head(feature)
        except (RuntimeError, IndexError, ValueError):
            return False
        expected = len(self.split.shape) + 1 if self.split is not None else 4
        ranks = (expected, 2)
        return all(r.ndim == n and len(r) == 1 for r, n in zip(results, ranks, strict=True))


def _by_two_gradients(
    head: Callable[[Tensor], Tensor], feature: Tensor, change: Tensor
) -> tuple[Tensor, Tensor]:
    """The same numbers by the gradient of a gradient, to trace a graph for batches of any size.

    The forward-mode rules of linear maps and norms would write the size of the batch into it.
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        leaf = feature.requires_grad_()
        logits = head(leaf)
        weights = torch.zeros_like(logits, requires_grad=True)
        (back,) = torch.autograd.grad(logits, leaf, weights, create_graph=True)
        (along,) = torch.autograd.grad(back, weights, change)
    return logits.detach(), along


def _on_device(program: ExportedProgram, device: torch.device) -> GraphModule:
    if device.type != "cpu":
        # a copy: the pass moves the weights of what it is given
        program = move_to_device_pass(copy.deepcopy(program), device)
    module = program.module(check_guards=False)
    module.requires_grad_(False)
    return module


def _fastest_format(module: GraphModule, device: torch.device) -> torch.memory_format:
    """Put the weights in channels-last order, 1.4 to 1.6 times as fast, where the graph allows it.

    A graph that looks at a map with `view` may insist on the usual order; one small run tells.
    """
    probe = _probe(module, device, 2)
    channels_last = torch.channels_last
    module.to(memory_format=channels_last)
    try:
        with torch.no_grad():
            module(probe.to(memory_format=channels_last))
    except RuntimeError:
        module.to(memory_format=torch.contiguous_format)
        return torch.contiguous_format
    return channels_last


def _probe(module: GraphModule, device: torch.device, size: int) -> Tensor:
    shape = shape_of(images_of(module.graph)) or ()
    return torch.zeros(size, *(s if isinstance(s, int) else 224 for s in shape[1:]), device=device)


def _last_linear(module: GraphModule) -> Node | None:
    output = next(iter(reversed(module.graph.nodes)))
    node = single(output.args[0])
    if isinstance(node, Node):
        node = _one_logit(node) or node
    while isinstance(node, Node) and (operator_name(node) in _PASS_THROUGH or _takes_all(node)):
        node = node.args[0]
    if not isinstance(node, Node) or operator_name(node) not in ("aten.linear", "aten.addmm"):
        return None
    features = _features_of(node)
    return node if isinstance(features, Node) and len(shape_of(features) or ()) == 2 else None


def _features_of(linear: Node) -> Any:
    """The input of a linear map, which `addmm` takes after the bias."""
    return linear.args[0 if operator_name(linear) == "aten.linear" else 1]


def _linear_parameters(module: GraphModule, node: Node) -> tuple[Tensor, Tensor]:
    if operator_name(node) == "aten.linear":
        weight = _constant(module, node.args[1])
        bias = node.args[2] if len(node.args) > 2 else None
        if bias is None:
            return weight, weight.new_zeros(weight.shape[0])
        return weight, _constant(module, bias)
    return _constant(module, node.args[2]).t(), _constant(module, node.args[0])


def _one_logit(node: Node) -> Node | None:
    """The one logit z of a network that gives the two logits 0 and z, else None."""
    if operator_name(node) != "aten.cat" or len(node.all_input_nodes) != 2:
        return None
    zero, logit = node.all_input_nodes
    is_zero = operator_name(zero) == "aten.zeros_like" and zero.args[0] is logit
    return logit if is_zero and (shape_of(node) or ())[1:] == (2,) else None


def _takes_all(node: Node) -> bool:
    """Whether it selects all there is of one value an image."""
    if operator_name(node) not in ("aten.select", "aten.slice"):
        return False
    sizes = shape_of(node.all_input_nodes[0]) or (), shape_of(node) or ()
    batches = {str(size[0]) for size in sizes if size}
    return len(batches) == 1 and all(inner == "1" for size in sizes for inner in map(str, size[1:]))


def _of_two_classes(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The map to one logit as that to the two logits 0 and z; any other as it is."""
    if len(weight) > 1:
        return weight, bias
    return torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])


def _constant(module: GraphModule, node: Any) -> Tensor:
    value = constant_of(module, node)
    if value is not None:
        return value
    source = _constant(module, node.args[0])  # a transposed weight
    result: Tensor = node.target(source, *node.args[1:])
    return result
