"""Attention without detours: images first in memory, and nothing computed that no logit reads.

`batch_first`: `torch.nn.MultiheadAttention` puts the tokens before the images, so every layer
around it copies its input into another order. The same products with the images first need none of
these copies.

`read_one_token`: a transformer that classifies by one token needs, after the last attention, this
token alone. What works on each token by itself then works on one of them instead of some 200, and
the attention before it answers one query: forward, backward and in forward mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from gsc_core.classifier.programs.graph import is_impure, is_mutable, operator_name, shape_of

_aten = torch.ops.aten
_RESHAPES = frozenset({"aten.view", "aten.reshape"})
_ATTENTION = "aten.scaled_dot_product_attention"
# from the three inputs of the attention back to the image tokens, and from its result on
_BEFORE: tuple[frozenset[str], ...] = (
    _RESHAPES,
    frozenset({"aten.transpose"}),
    _RESHAPES,
    frozenset({"aten.select"}),
    frozenset({"aten.contiguous", "aten.clone"}),
    frozenset({"aten.squeeze"}),
    frozenset({"aten.transpose"}),
    frozenset({"aten.unsqueeze"}),
    frozenset({"aten.unflatten"}),
    frozenset({"aten.linear"}),
    frozenset({"aten.transpose"}),
)
_AFTER: tuple[frozenset[str], ...] = (
    frozenset({"aten.permute"}),
    _RESHAPES,
    frozenset({"aten.linear"}),
    _RESHAPES,
    frozenset({"aten.transpose"}),
)
_BY_ITSELF = frozenset(
    f"aten.{name}"
    for name in ("gelu", "relu", "silu", "tanh", "sigmoid", "dropout", "clone", "contiguous")
)
_OF_TWO = frozenset({"aten.add", "aten.sub", "aten.mul", "aten.div"})


def batch_first(module: GraphModule) -> None:
    """Rewrite, in place, each self-attention of `torch.nn.MultiheadAttention` on batched images."""
    if any(map(is_mutable, module.graph.nodes)):
        return  # what is computed elsewhere might be overwritten before
    for attention in [n for n in module.graph.nodes if operator_name(n) == _ATTENTION]:
        _put_images_first(attention)
    module.graph.eliminate_dead_code(is_impure_node=is_impure)
    module.recompile()


def read_one_token(module: GraphModule) -> None:
    """Let, in place, what selects one token have the layers before it compute that one alone."""
    if any(map(is_mutable, module.graph.nodes)):
        return
    for select in [n for n in module.graph.nodes if operator_name(n) == "aten.select"]:
        source, dim, index = select.args
        shape = shape_of(source)
        if shape is None or dim % len(shape) != 1 or not isinstance(shape[1], int):
            continue
        one = _OneToken(module.graph, index % shape[1])
        alone = one.of(source, 1)
        if one.linear:  # else there is nothing to save
            select.args = (alone, 1, 0)
    module.graph.eliminate_dead_code(is_impure_node=is_impure)
    module.recompile()


def _put_images_first(attention: Node) -> None:
    value = attention.meta["val"]
    _, heads, length, size = value.shape
    result = _users(attention, _AFTER)
    chains = [_chain(source, _BEFORE) for source in attention.args[:3]]
    alike = all(chain and _is_packed(chain, at, heads, size) for at, chain in enumerate(chains))
    products = {chain[-2] for chain in chains if chain}
    if not alike or len(products) > 1 or not result or not _is_back(result):
        return
    if not _is_plain(attention):
        return
    product = products.pop()
    tokens, last = product.all_input_nodes[0].args[0], result[-1]
    graph, target = attention.graph, attention.target
    assert callable(target)
    with graph.inserting_before(last):
        call = graph.call_function
        packed = call(_aten.linear.default, (tokens, *product.args[1:]))
        parted = call(_aten.reshape.default, (packed, [-1, length, 3, heads, size]))
        three = call(_aten.permute.default, (parted, [2, 0, 3, 1, 4]))
        queries = [call(_aten.select.int, (three, 0, which)) for which in range(3)]
        attended = call(target, (*queries, *attention.args[3:]), dict(attention.kwargs))
        by_token = call(_aten.transpose.int, (attended, 1, 2))
        joined = call(_aten.reshape.default, (by_token, [-1, length, heads * size]))
        out = call(_aten.linear.default, (joined, *result[2].args[1:]))
    attended.meta["val"], out.meta["val"] = value, last.meta["val"]
    by_token.meta["val"] = value.transpose(1, 2)
    joined.meta["val"] = value.transpose(1, 2).flatten(2)
    last.replace_all_uses_with(out)


def _is_packed(chain: list[Node], which: int, heads: int, size: int) -> bool:
    """Whether a chain takes heads out of the `which`th of three products made in one."""
    _, by_head, _, part, _, squeeze, to_front, unsqueeze, parted, _, tokens = chain
    swapped = ((0, 1), (1, 0))
    return (
        by_head.args[1:] in swapped
        and part.args[1:] == (0, which)
        and squeeze.args[1:] in (([-2],), (-2,))
        and to_front.args[1:] == (0, -2)
        and unsqueeze.args[1:] == (0,)
        and parted.args[1:] == (-1, [3, heads * size])
        and tokens.args[1:] in swapped
    )


def _is_back(result: list[Node]) -> bool:
    """Whether the way from the attention's result leads back to images first."""
    return result[0].args[1:] == ([2, 0, 1, 3],) and result[-1].args[1:] in ((0, 1), (1, 0))


def _is_plain(attention: Node) -> bool:
    """Whether an attention has no mask, no dropout, and looks at all tokens."""
    asked = [argument for argument in attention.args[3:6] if argument]
    return not asked and set(attention.kwargs) <= {"scale"}


def _chain(last: Any, names: Sequence[frozenset[str]]) -> list[Node] | None:
    """The nodes with these operators from `last` backwards by first arguments."""
    chain: list[Node] = []
    for allowed in names:
        if not isinstance(last, Node) or operator_name(last) not in allowed:
            return None
        chain.append(last)
        last = last.args[0]
    return chain


def _users(first: Node, names: Sequence[frozenset[str]]) -> list[Node] | None:
    """The nodes with these operators from `first` on, each the only user of the one before."""
    chain: list[Node] = []
    for allowed in names:
        user = next(iter(first.users)) if len(first.users) == 1 else None
        if user is None or operator_name(user) not in allowed:
            return None
        chain.append(user)
        first = user
    return chain


def _axis_before(node: Node, dim: int, rank: int) -> int | None:
    """Where the axis `dim` of a result lies in the first input; None where others mix with it."""
    name = operator_name(node)
    if name == "aten.transpose":
        first, second = int(_argument(node, 1)) % rank, int(_argument(node, 2)) % rank
        return {first: second, second: first}.get(dim, dim)
    if name == "aten.slice":
        alone = _argument(node, 1) % rank != dim
    elif name == "aten.layer_norm":
        alone = dim < rank - len(_argument(node, 1))
    elif name == _ATTENTION:
        alone = dim == rank - 2 and _is_plain(node)
    else:
        alone = name in _BY_ITSELF or (name == "aten.linear" and dim < rank - 1)
    return dim if alone else None


def _argument(node: Node, at: int) -> Any:
    """An argument of a node, 0 where it is left out."""
    return node.args[at] if len(node.args) > at else 0


@dataclass
class _OneToken:
    """Makes nodes that compute one token of what other nodes compute of all.

    Attributes:
        linear: whether a linear map was among them.
    """

    graph: Graph
    index: int
    linear: bool = False
    made: dict[tuple[Node, int], Node] = field(default_factory=dict)

    def of(self, node: Node, dim: int) -> Node:
        """What `node` is at the token, which is kept as an axis `dim` of size one."""
        if (node, dim) not in self.made:
            one = self._through(node, dim)
            if one is None:
                with self.graph.inserting_after(node):
                    ends = (dim, self.index, self.index + 1)
                    one = self.graph.call_function(_aten.slice.Tensor, (node, *ends))
            self.made[node, dim] = one
        return self.made[node, dim]

    def _through(self, node: Node, dim: int) -> Node | None:
        """By way of what `node` is computed from; None where it takes all tokens for that."""
        name, shape = operator_name(node), shape_of(node)
        if shape is None:
            return None
        if name in _OF_TWO:
            return self._of_two(node, dim, len(shape))
        if name in _RESHAPES:
            return self._reshaped(node, dim)
        before = _axis_before(node, dim, len(shape))
        self.linear |= name == "aten.linear" and before is not None
        return None if before is None else self._copy(node, {0: before})

    def _of_two(self, node: Node, dim: int, rank: int) -> Node | None:
        """A sum or product, of which one side may be the same for all tokens."""
        dims = {}
        for at, term in enumerate(node.args[:2]):
            if not isinstance(term, Node):
                continue
            shape = shape_of(term)
            if shape is None:
                return None
            axis = dim - (rank - len(shape))
            if axis >= 0 and shape[axis] != 1:
                dims[at] = axis
        return self._copy(node, dims)

    def _reshaped(self, node: Node, dim: int) -> Node | None:
        """A reshape of what comes after the token alone, such as heads into channels."""
        source, sizes = node.all_input_nodes[0], _argument(node, 1)
        before, after = shape_of(source), shape_of(node)
        if before is None or after is None or before[: dim + 1] != after[: dim + 1]:
            return None
        one = [1 if axis == dim else size for axis, size in enumerate(sizes)]
        with self.graph.inserting_after(node):
            reshape = self.graph.call_function(_aten.reshape.default, (source, one))
        return self._reading(reshape, {0: dim})

    def _copy(self, node: Node, dims: dict[int, int]) -> Node:
        """The same operator on the token alone, of the arguments at `dims`."""
        with self.graph.inserting_after(node):
            copy = self.graph.node_copy(node)
        return self._reading(copy, dims)

    def _reading(self, copy: Node, dims: dict[int, int]) -> Node:
        for at, dim in dims.items():
            source = copy.args[at]
            assert isinstance(source, Node)
            copy.update_arg(at, self.of(source, dim))
        return copy
