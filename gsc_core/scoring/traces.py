"""What else the one pass leaves of an image: its feature made small, and its label's confidence.

Enough for a map of the images and for comparing the sets, at 128 bytes an image; scores do not
depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import pyarrow as pa
import torch
from torch import Tensor

from gsc_core.classifier.principal import principal
from gsc_core.detectors.base import Need, Representation
from gsc_core.run.layout import ANSWER_CONFIDENCE, COARSE_SHAPES, FEATURE, SELF_CONFIDENCE

DIMENSIONS = 64
SAMPLE_IMAGES = 1024  # of the calibration, in its random order: enough for so few directions

TRACED = Need.FEATURES | Need.SHAPES
TRACE_COLUMNS = (FEATURE, SELF_CONFIDENCE)
PASSING_COLUMNS = (COARSE_SHAPES, ANSWER_CONFIDENCE)
"""What is not stored for longer than the audit takes."""


@dataclass(frozen=True)
class Traces:
    """Of some images, on the CPU: features `[N,R]` and coarse shapes `[N,63]` as float16; at the
    temperature that fits, the confidence `[N]` in the predicted class and in the label's, NaN where
    that is unknown.
    """

    features: Tensor
    shapes: Tensor
    confidence: Tensor
    self_confidence: Tensor

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Those of consecutive batches, of which there is at least one."""
        columns = ([getattr(part, one.name) for part in parts] for one in fields(cls))
        return cls(*map(torch.cat, columns))

    def table_columns(self) -> dict[str, Any]:
        """The columns of a chunk; what is not known is null."""
        return {
            FEATURE: _vectors(self.features),
            COARSE_SHAPES: _vectors(self.shapes),
            ANSWER_CONFIDENCE: _numbers(self.confidence),
            SELF_CONFIDENCE: _numbers(self.self_confidence),
        }


@dataclass(frozen=True)
class Tracer:
    """Makes features small: unit length, less their mean `[D]`, along the `directions [D,R]`.

    These are the principal ones of calibration images. Where the network has no features, the
    logits stand in for them. Confidence is at the `temperature`.
    """

    mean: Tensor
    directions: Tensor
    temperature: float = 1.0

    @classmethod
    def of(cls, calibration: Representation, temperature: float | None = None) -> Self:
        """Learned from calibration images; R is at most 64, and fewer for small networks.

        Without a temperature that fits, confidence is as the classifier says it.
        """
        units = _units(calibration[:SAMPLE_IMAGES]).double()
        mean = units.mean(dim=0)
        directions = principal(units - mean)[1].flip(1)[:, :DIMENSIONS]
        # a direction and its opposite are as good: always the same one, also on another machine
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
        return cls(mean.float(), directions.float(), temperature or 1.0)

    def on(self, device: torch.device | str) -> Tracer:
        """The same on another device."""
        return replace(self, mean=self.mean.to(device), directions=self.directions.to(device))

    def __call__(self, batch: Representation, labels: Sequence[int] = ()) -> Traces:
        """Of a batch with class indices `[B]`, −1 unknown; without labels none is known."""
        assert batch.shapes is not None, "TRACED is asked for"
        small = (_units(batch) - self.mean) @ self.directions
        features, shapes = (rows.to(torch.float16).cpu() for rows in (small, batch.shapes))
        shares = (batch.logits.float() / self.temperature).softmax(dim=1)
        own = torch.full((len(batch),), torch.nan)
        if len(labels):
            index = torch.tensor(labels, device=shares.device)
            of_labels = shares.gather(1, index.clamp(min=0)[:, None])[:, 0]
            own = of_labels.masked_fill(index < 0, torch.nan).cpu()
        return Traces(features, shapes, shares.amax(dim=1).cpu(), own)


def _numbers(values: Tensor) -> pa.Array:
    return pa.array(values.numpy(), pa.float32(), from_pandas=True)


def _vectors(rows: Tensor) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1).numpy()), rows.shape[1])


def _units(batch: Representation) -> Tensor:
    """The features `[B,D]`, else the logits, each of length 1; what is not finite counts as 0."""
    rows = batch.logits if batch.features is None else batch.features
    rows = rows.float().nan_to_num(0.0, 0.0, 0.0)
    return torch.nn.functional.normalize(rows, dim=1)
