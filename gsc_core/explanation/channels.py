"""What each channel at the split does on one image, and what it usually does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_core.detectors.base import Representation
from gsc_core.explanation.result import Usual

PERCENTILES = (5, 25, 50, 75, 95)
READINGS = ("activation", "gradient", "contribution")


@dataclass(frozen=True)
class ChannelNormals:
    """What each of `C` channels does on calibration images: `[5,C]`, one row a percentile.

    `activation` is the mean over positions, `gradient` the sum of ∂y_c/∂h over them, `contribution`
    the sum of g·h, in logits of the predicted class.
    """

    activation: NDArray[np.float64]
    gradient: NDArray[np.float64]
    contribution: NDArray[np.float64]

    @classmethod
    def of(cls, sample: Representation, channel: int) -> ChannelNormals | None:
        """From calibration images; None when map or gradient were not read. `channel` is its axis.

        Nothing as large as the maps is made: products are taken of one image at a time.
        """
        if sample.feature_map is None or sample.gradient is None:
            return None
        pairs = zip(sample.feature_map, sample.gradient, strict=True)
        by_image = [by_channel(positions(h, channel), positions(g, channel)) for h, g in pairs]
        stacked = (
            torch.stack(values).cpu().double().numpy() for values in zip(*by_image, strict=True)
        )
        return cls(*(np.percentile(values, PERCENTILES, axis=0) for values in stacked))

    def table(self) -> pa.Table:
        """One row a channel, with columns such as `activation_05`."""
        columns = {
            f"{name}_{percentile:02}": values
            for name in READINGS
            for percentile, values in zip(PERCENTILES, getattr(self, name), strict=True)
        }
        n = self.activation.shape[1]
        return pa.table({"channel": np.arange(n, dtype=np.int32)} | columns)

    @classmethod
    def of_table(cls, table: pa.Table) -> ChannelNormals:
        """What `table` gave; raises KeyError when a column is missing."""
        columns = {
            name: [table[f"{name}_{percentile:02}"].to_numpy() for percentile in PERCENTILES]
            for name in READINGS
        }
        return cls(**{name: np.stack(values) for name, values in columns.items()})

    def usual(self, reading: str, channel: int) -> Usual:
        """The usual range of one channel."""
        values = getattr(self, reading)[:, channel]
        return Usual(float(values[0]), float(values[2]), float(values[4]))


def positions(one: Tensor, channel: int) -> Tensor:
    """`[positions,C]` of one image's map; `channel` is the axis in the batched tensor."""
    return one.movedim(channel - 1, -1).flatten(0, -2)


def by_channel(h: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Activation, gradient and contribution `[C]` of one image's `[positions,C]`."""
    return h.mean(dim=0), g.sum(dim=0), (g * h).sum(dim=0)
