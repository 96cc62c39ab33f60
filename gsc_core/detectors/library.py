"""What all detectors share that are bound from pytorch-ood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gsc_core.detectors.facts import Paper

LEAST_IMAGES = 10
"""Means and percentiles of fewer calibration images are chance."""

AT_ONCE = 4096
"""So many calibration images at a time where a fit needs several copies of their features."""


def published(library: type) -> Paper | None:
    """Where the method of a pytorch-ood class was published, if that library names a paper."""
    paper = library.info.paper  # type: ignore[attr-defined]
    return None if paper is None else Paper(paper.title, paper.venue, paper.year, paper.url)


def settled(bound: Any, device: torch.device) -> Any:
    """A fitted detector of the library, with all its tensors on `device`.

    Some fits go through NumPy and leave them on the CPU; the library then sends there what it is
    asked to score, whatever device the network is on.
    """
    return bound.to(device)


def detached(scores: Any) -> Tensor:
    """The library's scores without the graph that some of them carry."""
    alone: Tensor = scores.detach()
    return alone


def constant(features: Tensor) -> Tensor:
    """Which coordinates `[D]` of the features `[N,D]` do not vary, but for rounding."""
    noise = torch.finfo(torch.float32).eps * features.abs().amax(dim=0)
    return features.amax(dim=0) - features.amin(dim=0) <= 4 * noise
