"""Nearest neighbours by cosine, a block at a time: memory does not grow with the product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 16 * 2**20  # cosines at once: 64 MiB


@dataclass(frozen=True)
class Nearest:
    """The nearest of a bank to each query: `index [N,k]` in the bank, `cosine [N,k]`, falling."""

    index: Tensor
    cosine: Tensor


def nearest(
    queries: Tensor,
    bank: Tensor,
    count: int = 1,
    *,
    among_themselves: bool = False,
    step: Callable[[], None] = lambda: None,
) -> Nearest:
    """The `count` nearest of `bank [M,R]` to each of `queries [N,R]`, whose rows have length 1.

    `among_themselves` says that the queries are the first of the bank: none is its own neighbour.
    `step` is called for each block and may raise to stop. There are fewer neighbours where the
    bank is smaller.
    """
    count = min(count, len(bank) - among_themselves)
    size = max(1, _BLOCK // max(1, len(bank)))
    index, cosine = [], []
    for start in range(0, len(queries), size):
        step()
        product = queries[start : start + size] @ bank.T
        if among_themselves:
            rows = torch.arange(len(product), device=product.device)
            product[rows, rows + start] = -torch.inf
        best = product.topk(count, dim=1) if count > 1 else product.max(dim=1, keepdim=True)
        cosine.append(best.values)
        index.append(best.indices)
    if not index:
        return Nearest(torch.empty(0, count, dtype=torch.long), torch.empty(0, count))
    return Nearest(torch.cat(index), torch.cat(cosine))
