"""Ways to short-circuit a network: which feature, which of its coordinates, how many, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Excused, Need, Representation
from gsc_core.detectors.gsc import GSC
from gsc_core.evaluation.selection import NOTHING, Ranking, ShortCircuit

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
RANKINGS: tuple[Ranking, ...] = ("gradient", "attribution", "activation")


def detector_of(way: ShortCircuit) -> GSC | None:
    """The GSC that cuts so, unfitted; None where nothing is cut."""
    if way.layer == "none":
        return None
    kind = GSC if way.layer == "split" else PooledGSC
    knobs = way.model_dump(exclude={"layer"})
    return kind.configured({**knobs, "update": "exact", "direction": "published"})


def candidates(network: Network) -> Iterator[ShortCircuit]:
    """Every way worth a try to cut this network, the one that cuts nothing first.

    At the audit's layer values are set to zero alone: to cap them there hardly changes an answer.
    """
    yield NOTHING
    if network.linear is not None:
        for way in product(RANKINGS, SHARES, ("zero", "truncate")):
            yield _of("pooled", "element", way)
    if network.split is not None:
        for granularity, by, share in product(("channel", "element"), RANKINGS, SHARES):
            yield _of("split", granularity, (by, share, "zero"))


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

    def logits_after(self, batch: Representation) -> Tensor:
        """Logits `[B,K]` after the short-circuit: here the first-order ones are exact."""
        return self.after(batch)[0]

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
