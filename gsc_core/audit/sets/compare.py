"""All that is noticed about the image sets, from what the one pass left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_core.audit.sets.copies import Some, limit_of, near_copies
from gsc_core.audit.sets.familiar import familiar_looking
from gsc_core.audit.sets.neighbours import nearest
from gsc_core.classifier import Preprocessing
from gsc_core.evaluation.label_doubts import label_doubts
from gsc_core.images import ImageSet
from gsc_core.log import Step
from gsc_core.run.document import LabelDoubt, LabelDoubts, NearCopies, SetChecks
from gsc_core.run.layout import CALIBRATION, FEATURE, ID, SELF_CONFIDENCE
from gsc_core.scoring.decoder import prepared

NEIGHBOURS = 5  # calibration images, the mean of whose cosines is how near an image is
MAX_NAMED = 200
PHASE = "comparing the image sets"


@dataclass(frozen=True)
class _Rows:
    """The table of all scores and traces, a set at a time, and where its images lie."""

    table: pa.Table
    by_set: Mapping[str, NDArray[np.intp]]
    units: Tensor
    paths: Mapping[str, Mapping[str, Path]]

    @classmethod
    def of(cls, table: pa.Table, sets: Mapping[str, ImageSet], device: torch.device) -> _Rows:
        names = table["set"].to_numpy(zero_copy_only=False)
        by_set = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}
        features = table[FEATURE].combine_chunks()
        flat = np.asarray(features.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
        rows = torch.from_numpy(flat.reshape(len(table), -1)).to(device)
        paths = {name: {one.name: one.path for one in of.images} for name, of in sets.items()}
        return cls(table, by_set, torch.nn.functional.normalize(rows, dim=1), paths)

    def some(self, name: str) -> Some:
        rows = self.by_set[name]
        return Some(name, rows, self.units[torch.from_numpy(rows).to(self.units.device)])

    def path(self, row: int) -> Path:
        set_name, file = (self.table[name][row].as_py() for name in ("set", "file"))
        return self.paths[set_name][file]

    def column(self, name: str) -> NDArray[np.float64]:
        return np.asarray(self.table[name].to_numpy(), dtype=np.float64)


def compare(
    table: pa.Table,
    sets: Mapping[str, ImageSet],
    detectors: Sequence[str],
    preprocessing: Preprocessing,
    device: torch.device,
    step: Step,
) -> SetChecks:
    """What is noticed in `table`, the scores and traces of all rows.

    `sets` are those it was made of, by name; `detectors` those that point the right way. Images
    are decoded where two look like one; `step` is told how far that is, and may raise to stop.
    """
    rows = _Rows.of(table, sets, device)

    def telling(done: int = 0, total: int = 1) -> None:
        step(PHASE, done, total)

    def look(row: int) -> Tensor:
        return prepared(preprocessing, rows.path(row))

    calibration = rows.some(CALIBRATION)
    limit = limit_of(calibration, telling)
    nearness = np.ones(len(table))
    copies: list[NearCopies] = []
    for name in rows.by_set:
        if name == CALIBRATION:
            continue
        tested = rows.some(name)
        best = nearest(tested.units, calibration.units, NEIGHBOURS, step=telling)
        nearness[tested.rows] = best.cosine.mean(dim=1).cpu().numpy()
        copies.append(near_copies(tested, calibration, best, limit, look, telling))
        if name != ID:
            familiar = rows.some(ID)
            best = nearest(tested.units, familiar.units, step=telling)
            copies.append(near_copies(tested, familiar, best, limit, look, telling))
    return SetChecks(
        limit=limit,
        copies=tuple(one for one in copies if one.images),
        familiar_looking=familiar_looking(
            {name: of_set for name, of_set in rows.by_set.items() if name != CALIBRATION},
            rows.column("confidence"),
            nearness,
            [rows.column(detector) for detector in detectors],
        ),
        labels=_labels(rows),
    )


def _labels(rows: _Rows) -> LabelDoubts | None:
    """Doubts about labels of ID and calibration images alike; None without labels."""
    labels, predicted = (
        np.asarray(rows.table[name].to_numpy(), dtype=np.int64) for name in ("label", "predicted")
    )
    own = rows.column(SELF_CONFIDENCE)
    labels = np.where(np.isfinite(own), labels, -1)
    if not (labels >= 0).any():
        return None
    confidence = rows.column("confidence")
    doubted = label_doubts(labels, predicted, confidence, own).images
    return LabelDoubts(
        images=len(doubted),
        labelled=int((labels >= 0).sum()),
        doubts=tuple(
            LabelDoubt(
                row=int(row),
                label=int(labels[row]),
                predicted=int(predicted[row]),
                confidence=min(1.0, float(confidence[row])),
                self_confidence=min(1.0, float(own[row])),
            )
            for row in doubted[:MAX_NAMED]
        ),
    )
