"""What a temperature makes of the confidence in images whose class is known.

The log loss takes all logits, which are not stored: so both are computed as the images stream by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import torch
from torch import Tensor

from gsc_core.run.layout import TEMPERED_COLUMNS


@dataclass(frozen=True)
class Tempered:
    """Of a batch of ID images, on the CPU, NaN where the label is unknown; all are `[B]`.

    confidence: softmax of the predicted class, of logits divided by the temperature. log_loss,
    log_loss_after: minus the log softmax of the label, before and after.
    """

    confidence: Tensor
    log_loss: Tensor
    log_loss_after: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Sequence[int], temperature: float) -> Self:
        """From logits `[B,K]` and class indices `[B]`, −1 where unknown."""
        unknown = torch.tensor(labels, device=logits.device) < 0
        index = torch.tensor(labels, device=logits.device).clamp(min=0)[:, None]

        def losses(log_softmax: Tensor) -> Tensor:
            return -log_softmax.gather(1, index)[:, 0]

        before = logits.float().log_softmax(dim=1)
        after = (logits.float() / temperature).log_softmax(dim=1)
        columns = (after.amax(dim=1).exp(), losses(before), losses(after))
        return cls(*(column.masked_fill(unknown, torch.nan).cpu() for column in columns))

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Those of consecutive batches, of which there is at least one."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(*map(torch.cat, columns))

    def table_columns(self) -> dict[str, Any]:
        """The columns of `scores.parquet`, where what is not a number is null."""
        return {
            name: pa.array(column.numpy(), pa.float32(), from_pandas=True)
            for name, column in zip(TEMPERED_COLUMNS, self._columns(), strict=True)
        }

    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.confidence, self.log_loss, self.log_loss_after
