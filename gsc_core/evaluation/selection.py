"""What a detector chose for itself, and from what: records that a finished run keeps.

All figures are on surrogate outliers made of calibration images; no OOD image is seen.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

UNSURE = 0.05  # what a kind of surrogate, 64 images of the usual 256, cannot tell from 0

Layer = Literal["none", "pooled", "split"]
Ranking = Literal["gradient", "attribution", "activation"]


class Separation(NamedTuple):
    """FPR95 and AUROC, both 0 to 1; the first is better low, the second high."""

    fpr95: float
    auroc: float


def loss(kinds: Mapping[str, Separation]) -> float:
    """One figure of all, lower is better: the geometric mean, over kinds, of FPR95 + 1 − AUROC.

    So each kind counts in proportion: halving what is accepted of an easy kind is worth as much as
    halving it of a hard one. What a kind cannot tell from 0 is added to each.
    """
    losses = (separation.fpr95 + 1 - separation.auroc + UNSURE for separation in kinds.values())
    return statistics.geometric_mean(losses)


class ShortCircuit(BaseModel):
    """One way to cut.

    layer: `split`, the audit's layer; `pooled`, the input of the last linear map, where the
    gradient is a row of its weights; `none`, nothing is cut. The rest is as in `GSC`, and means
    nothing with `none`.
    """

    model_config = ConfigDict(frozen=True)

    layer: Layer
    granularity: Literal["element", "channel"] = "element"
    ranking: Ranking = "gradient"
    share: float = Field(default=0.0, ge=0, le=1)
    intervention: Literal["zero", "truncate"] = "zero"

    @property
    def complexity(self) -> tuple[int, float]:
        """Sorts the simpler first: nothing cut, then the usual ways, then those that cut more."""
        unusual = (self.granularity == "element", self.intervention == "truncate")
        return (self.layer != "none") + sum(unusual), self.share


NOTHING = ShortCircuit(layer="none")


class Tried(BaseModel):
    """A candidate with what it did on surrogate outliers, by the readings it is judged by: 0 to 1.

    capped: whether pooled features are cut off before they are read. by_kind: FPR95 and AUROC on
    each kind of surrogate.
    """

    model_config = ConfigDict(frozen=True)

    short_circuit: ShortCircuit
    capped: bool
    fpr95: float
    auroc: float
    by_kind: dict[str, Separation]

    @property
    def loss(self) -> float:
        """What the choice is made by, lower is better."""
        return loss(self.by_kind)


class Selection(BaseModel):
    """What was chosen, and what it was chosen from.

    nothing: the same readings without a short-circuit. tried: those that were seen on all `images`
    and `surrogates`, best first; `dropped` others went out on a part of them.
    """

    model_config = ConfigDict(frozen=True)

    chosen: Tried
    nothing: Tried
    tried: tuple[Tried, ...]
    dropped: int
    images: int
    surrogates: int
