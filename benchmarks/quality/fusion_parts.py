"""What each part of `auto-ensemble` brings: its scores with one part left out, or all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.ensemble import Columns
from gsc_core.detectors.fusion import Fusion

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

ALIKE = "all parts alike"


def left_out(
    id_scores: Columns, surrogates: Columns | None, test: Mapping[str, Columns]
) -> dict[str, dict[str, Floats]]:
    """Fused scores of each test set by what was left out: `ALIKE`, or `without …`.

    Weights are learned again from scores of calibration images and surrogates, as the ensemble
    learns them. Empty where fewer than three of its parts could run.
    """
    names = [part.name for part in AutoEnsemble.parts if part.name in id_scores]
    if len(names) < 3:
        return {}
    ways = {f"without {name}": [other for other in names if other != name] for name in names}
    fused = {ALIKE: _fused(names, id_scores, None, test)}
    return fused | {way: _fused(rest, id_scores, surrogates, test) for way, rest in ways.items()}


def _fused(
    names: Sequence[str],
    id_scores: Columns,
    surrogates: Columns | None,
    test: Mapping[str, Columns],
) -> dict[str, Floats]:
    def of(columns: Columns) -> Tensor:
        return torch.stack([columns[name].float() for name in names], dim=1)

    fusion = Fusion.of(of(id_scores), None if surrogates is None else of(surrogates))
    return {name: fusion(of(columns)).numpy() for name, columns in test.items()}
