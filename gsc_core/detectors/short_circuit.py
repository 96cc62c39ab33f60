"""Ways to short-circuit a network: which feature, which of its coordinates, how many, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Excused, Need, Representation
from gsc_core.detectors.gsc import GSC

Layer = Literal["none", "pooled", "split"]
Ranking = Literal["gradient", "attribution", "activation"]

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
RANKINGS: tuple[Ranking, ...] = ("gradient", "attribution", "activation")


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

    def detector(self) -> GSC | None:
        """The GSC that cuts so, unfitted; None where nothing is cut."""
        if self.layer == "none":
            return None
        kind = GSC if self.layer == "split" else PooledGSC
        knobs = self.model_dump(exclude={"layer"})
        return kind.configured({**knobs, "update": "exact", "direction": "published"})

    @property
    def complexity(self) -> tuple[int, float]:
        """Sorts the simpler first: nothing cut, then the usual ways, then those that cut more."""
        unusual = (self.granularity == "element", self.intervention == "truncate")
        return (self.layer != "none") + sum(unusual), self.share


NOTHING = ShortCircuit(layer="none")


def candidates(network: Network) -> Iterator[ShortCircuit]:
    """Every way that this network can be cut, the one that cuts nothing first."""
    yield NOTHING
    how = tuple(product(RANKINGS, SHARES, ("zero", "truncate")))
    if network.linear is not None:
        yield from (_of("pooled", "element", each) for each in how)
    if network.split is not None:
        for granularity, each in product(("channel", "element"), how):
            yield _of("split", granularity, each)


def _of(layer: str, granularity: str, how: tuple[str, float, str]) -> ShortCircuit:
    values = zip(ShortCircuit.model_fields, (layer, granularity, *how), strict=True)
    return ShortCircuit.model_validate(dict(values))


@dataclass(eq=False)
class PooledGSC(GSC):
    """GSC at the pooled feature, the input of the last linear map.

    The gradient there is the predicted class's row of the weights, so it needs no backward pass,
    and the new logits are exact.
    """

    needs = Need.LOGITS | Need.FEATURES

    def at(self, batch: Representation) -> tuple[Tensor, Tensor]:
        """Pooled features `[B,D]` and the weights `[B,D]` of the predicted class."""
        assert batch.features is not None and self.network_ is not None
        assert self.network_.linear is not None
        return batch.features, self.network_.linear.weight[batch.predicted]

    def after(self, batch: Representation) -> tuple[Tensor, Tensor | None]:
        """Logits `[B,K]` and features `[B,D]` after the short-circuit."""
        assert self.network_ is not None and self.network_.linear is not None
        with torch.no_grad():
            features = self.at(batch)[0] + self.change(batch)
            return self.network_.linear(features), features

    @property
    def channel(self) -> int:
        """Every coordinate is a channel of one position."""
        return 1

    @staticmethod
    def _require_cut(network: Network) -> None:
        if network.linear is None:
            raise Excused("the network does not end in a linear layer")
