"""What else the one pass leaves of an image: its feature made small, and its label's confidence.

Enough for a map of the images and for comparing the sets, at 128 bytes an image; scores do not
depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import torch
from torch import Tensor

from gsc_core.classifier.principal import principal
from gsc_core.detectors.base import Need, Representation
from gsc_core.run.layout import COARSE_SHAPES, FEATURE, SELF_CONFIDENCE

DIMENSIONS = 64
SAMPLE_IMAGES = 1024  # of the calibration, in its random order: enough for so few directions

TRACED = Need.FEATURES | Need.SHAPES
TRACE_COLUMNS = (FEATURE, SELF_CONFIDENCE)
PASSING_COLUMNS = (COARSE_SHAPES,)
"""What is not stored for longer than the audit takes."""


@dataclass(frozen=True)
class Traces:
    """Of some images, on the CPU: features `[N,R]` and coarse shapes `[N,63]` as float16,
    self-confidence `[N]`, NaN where the label is unknown.
    """

    features: Tensor
    self_confidence: Tensor
    shapes: Tensor

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Those of consecutive batches, of which there is at least one."""
        return cls(
            torch.cat([part.features for part in parts]),
            torch.cat([part.self_confidence for part in parts]),
            torch.cat([part.shapes for part in parts]),
        )

    def table_columns(self) -> dict[str, Any]:
        """The columns of a chunk; what is not known is null."""
        own = pa.array(self.self_confidence.numpy(), pa.float32(), from_pandas=True)
        vectors = {FEATURE: self.features, COARSE_SHAPES: self.shapes}
        return {name: _column(rows) for name, rows in vectors.items()} | {SELF_CONFIDENCE: own}


@dataclass(frozen=True)
class Tracer:
    """Makes features small: unit length, less their mean `[D]`, along the `directions [D,R]`.

    These are the principal ones of calibration images. Where the network has no features, the
    logits stand in for them.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, calibration: Representation) -> Self:
        """Learned from calibration images; R is at most 64, and fewer for small networks."""
        units = _units(calibration[:SAMPLE_IMAGES]).double()
        mean = units.mean(dim=0)
        directions = principal(units - mean)[1].flip(1)[:, :DIMENSIONS]
        # a direction and its opposite are as good: always the same one, also on another machine
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        return cls(mean.float(), directions.float())

    def __call__(self, batch: Representation, labels: Sequence[int] = ()) -> Traces:
        """Of a batch with class indices `[B]`, −1 unknown; without labels none is known."""
        small = (_units(batch) - self.mean) @ self.directions
        confidence = torch.full((len(batch),), torch.nan)
        if len(labels):
            index = torch.tensor(labels, device=batch.logits.device)
            shares = batch.logits.float().softmax(dim=1).gather(1, index.clamp(min=0)[:, None])
            confidence = shares[:, 0].masked_fill(index < 0, torch.nan).cpu()
        assert batch.shapes is not None, "TRACED is asked for"
        features, shapes = (rows.to(torch.float16).cpu() for rows in (small, batch.shapes))
        return Traces(features, confidence, shapes)


def _column(rows: Tensor) -> pa.FixedSizeListArray:
    """Vectors `[N,R]`, one a row."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1).numpy()), rows.shape[1])


def _units(batch: Representation) -> Tensor:
    """The features `[B,D]`, else the logits, each of length 1; what is not finite counts as 0."""
    rows = batch.logits if batch.features is None else batch.features
    rows = rows.float().nan_to_num(0.0, 0.0, 0.0)
    return torch.nn.functional.normalize(rows, dim=1)
