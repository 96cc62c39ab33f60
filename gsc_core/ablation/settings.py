"""What an ablation turns around: two settings of GSC, the paper's rows, names of its factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]

IMAGES_PER_SET = 400
CURVE, LAYER, PAPER, REFERENCE = "curve", "layer", "paper", "reference"


@dataclass(frozen=True)
class Base:
    """A setting around which one factor at a time is changed."""

    name: str
    about: str
    settings: Settings


PUBLISHED = Base(
    "published",
    "the published setting: top 20 % of the values by gradient, drop of softmax",
    {"share": 0.2, "granularity": "element", "ranking": "gradient", "reading": "drop"},
)
BETTER = Base(
    "better",
    "a setting that did better elsewhere: 5 % of the channels by attribution, residual logit",
    {
        "share": 0.05,
        "granularity": "channel",
        "ranking": "attribution",
        "reading": "residual_logit",
    },
)
BASES = (PUBLISHED, BETTER)
FULL_METHOD = "Full method: 20 %, deep"
PAPER_ROWS: Mapping[str, tuple[str, Settings | None]] = {
    FULL_METHOD: ("deep", {}),
    "Logits computed again": ("deep", {"update": "exact"}),
    "Top 5 %": ("deep", {"share": 0.05}),
    "Top 50 %": ("deep", {"share": 0.5}),
    "Shallow layer": ("shallow", {}),
    "No short-circuit: GradNorm": ("deep", None),
}
"""Rows of the paper's ablation with the layer and what differs from the published setting.

None is the row without the short-circuit, which is the detector GradNorm.
"""
