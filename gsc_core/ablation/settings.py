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
    """A setting around which one factor at a time is changed: `title` as sentences call it."""

    name: str
    title: str
    about: str
    settings: Settings


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's ablation: the layer, and what differs from the published setting.

    settings: None without the short-circuit, which is the detector GradNorm. fpr95, auroc: as a
    public summary of the paper quotes them, approximately, the mean over four sets of OOD images on
    ImageNet-1k; the paper itself could not be read.
    """

    depth: str
    settings: Settings | None
    fpr95: float
    auroc: float


PUBLISHED = Base(
    "published",
    "the setting as summarised",
    "the setting that a summary of the paper describes: top 20 % of the values by gradient, drop "
    "of softmax",
    {"share": 0.2, "granularity": "element", "ranking": "gradient", "reading": "drop"},
)
BETTER = Base(
    "better",
    "the better setting",
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
PAPER_ROWS: Mapping[str, PaperRow] = {
    FULL_METHOD: PaperRow("deep", {}, 0.194, 0.958),
    "Logits computed again": PaperRow("deep", {"update": "exact"}, 0.192, 0.959),
    "Top 5 %": PaperRow("deep", {"share": 0.05}, 0.212, 0.949),
    "Top 50 %": PaperRow("deep", {"share": 0.5}, 0.208, 0.951),
    "Shallow layer": PaperRow("shallow", {}, 0.251, 0.932),
    "No short-circuit: GradNorm": PaperRow("deep", None, 0.275, 0.925),
}
"""Rows of the paper's ablation, by what they are called here."""
