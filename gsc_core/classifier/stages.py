"""The stages of a network: how its depths see an image, as one mean a channel.

A stage is a run of blocks with the same number of channels, and ends with the last of them. A
network whose blocks all have the same number, as a plain transformer, is read at a few even depths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch.fx import GraphModule, Node

from gsc_core.classifier.programs.graph import shape_of
from gsc_core.classifier.split import Split

MOST_STAGES = 8
MOST_VALUES = 4096
_FEWEST, _DEPTHS = 3, 4  # stages below which depths are taken, and how many of these

Candidate = tuple[Split, Node]


@dataclass(frozen=True)
class Stage:
    """The end of a stage: the layer's name, and how many channels it has."""

    name: str
    channels: int


def stages(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates for a cut at which stages end, in the order of execution.

    At most `MOST_STAGES`, spread evenly with the last among them. Where their channels are more
    than `MOST_VALUES` the widest are left out: mostly the last, which the features repeat.
    """
    blocks = [one for one in candidates if one[0].block]
    ends = _ends(blocks)
    if len(ends) < _FEWEST:  # blocks that all look alike, or plain convolutions
        ends = _evenly(blocks, _DEPTHS) if len(blocks) >= _DEPTHS else _ends(candidates)
    ends = _evenly(ends, MOST_STAGES)
    while sum(map(_channels, ends)) > MOST_VALUES:
        ends.remove(max(ends, key=_channels))
    return ends


def described(ends: Sequence[Candidate]) -> tuple[Stage, ...]:
    """The stages that end there."""
    return tuple(Stage(split.name, _channels((split, node))) for split, node in ends)


def channel_mean(module: GraphModule, end: Candidate) -> Node:
    """Add to the graph the mean over positions `[B,C]`, in float32, of a stage's end."""
    split, node = end
    positions = [axis for axis in range(1, len(split.shape) + 1) if axis != split.channel]
    with module.graph.inserting_after(node):
        mean = module.graph.call_function(
            torch.ops.aten.mean.dim, (node, positions), {"dtype": torch.float32}
        )
    mean.meta["val"] = node.meta["val"].mean(positions)
    return mean


def _ends(some: Sequence[Candidate]) -> list[Candidate]:
    return [list(run)[-1] for _, run in groupby(some, key=_channels)]


def _evenly(some: Sequence[Candidate], most: int) -> list[Candidate]:
    """At most so many of them, at even distances, the last among them."""
    n = len(some)
    if n <= most:
        return list(some)
    return [some[-(-n * (at + 1) // most) - 1] for at in range(most)]


def _channels(one: Candidate) -> int:
    split, node = one
    shape = shape_of(node)
    assert shape is not None
    return int(shape[split.channel])
