"""All that is noticed about the image sets, from what the one pass left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_core.audit.sets.copies import Likeness, Some, limit_of, near_copies
from gsc_core.audit.sets.familiar import familiar_looking
from gsc_core.audit.sets.neighbours import nearest
from gsc_core.classifier import Preprocessing
from gsc_core.evaluation.label_doubts import label_doubts
from gsc_core.images import ImageSet
from gsc_core.images.sources.address import BytesAt
from gsc_core.log import Step
from gsc_core.run.layout import (
    ANSWER_CONFIDENCE,
    CALIBRATION,
    COARSE_SHAPES,
    FEATURE,
    ID,
    SELF_CONFIDENCE,
)
from gsc_core.run.set_checks import LabelDoubt, LabelDoubts, SetChecks
from gsc_core.scoring.decoder import prepared

NEIGHBOURS = 5  # calibration images, the mean of whose cosines is how near an image is
MAX_BANK = 10_000  # calibration images, in their random order, among which they are looked for
MAX_NAMED = 200
PHASE = "comparing the image sets"


@dataclass(frozen=True)
class _Rows:
    """The table of all scores and traces, a set at a time, and where its images lie."""

    table: pa.Table
    by_set: Mapping[str, NDArray[np.intp]]
    paths: Mapping[str, Mapping[str, BytesAt]]
    device: torch.device

    @classmethod
    def of(cls, table: pa.Table, sets: Mapping[str, ImageSet], device: torch.device) -> _Rows:
        names = table["set"].to_numpy(zero_copy_only=False)
        by_set = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}
        paths = {name: {one.name: one.path for one in of.images} for name, of in sets.items()}
        return cls(table, by_set, paths, device)

    def path(self, row: int) -> BytesAt:
        set_name, file = (self.table[name][row].as_py() for name in ("set", "file"))
        return self.paths[set_name][file]

    def column(self, name: str) -> NDArray[np.float64]:
        return np.asarray(self.table[name].to_numpy(), dtype=np.float64)

    def integers(self, name: str) -> NDArray[np.int64]:
        return np.asarray(self.table[name].to_numpy(), dtype=np.int64)

    def vectors(self, name: str) -> Mapping[str, Tensor]:
        """The rows `[N,R]` of a column of vectors, each of length 1, by set."""
        column = self.table[name].combine_chunks()
        flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
        values = torch.from_numpy(flat.reshape(len(self.table), -1)).to(self.device)
        units = torch.nn.functional.normalize(values, dim=1)
        return {name: units[torch.from_numpy(at)] for name, at in self.by_set.items()}


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

    likeness = Likeness(lambda row: prepared(preprocessing, rows.path(row)))
    vectors = rows.vectors(COARSE_SHAPES)
    some = {name: Some(name, of_set, vectors[name]) for name, of_set in rows.by_set.items()}
    limit = limit_of(some[CALIBRATION], likeness, telling)
    tested = [name for name in some if name != CALIBRATION]
    pairs = [(name, CALIBRATION) for name in tested]
    pairs += [(name, ID) for name in tested if name != ID]
    copies = [near_copies(some[one], some[of], limit, likeness, telling) for one, of in pairs]
    return SetChecks(
        limit=limit,
        copies=tuple(one for one in copies if one.images),
        familiar_looking=familiar_looking(
            rows.by_set,
            rows.integers("predicted"),
            rows.column("confidence"),
            _nearness(rows, telling),
            [rows.column(detector) for detector in detectors],
        ),
        labels=_labels(rows),
    )


def _nearness(rows: _Rows, step: Callable[[], None]) -> NDArray[np.float64]:
    """How near each tested row is to calibration images: the mean cosine of the nearest few."""
    units = rows.vectors(FEATURE)
    nearness = np.ones(len(rows.table))
    for name, of_set in rows.by_set.items():
        if name != CALIBRATION:
            best = nearest(units[name], units[CALIBRATION][:MAX_BANK], NEIGHBOURS, step=step)
            nearness[of_set] = best.cosine.mean(dim=1).cpu().numpy()
    return nearness


def _labels(rows: _Rows) -> LabelDoubts | None:
    """Doubts about labels of ID and calibration images alike; None without labels."""
    labels, predicted = rows.integers("label"), rows.integers("predicted")
    own = rows.column(SELF_CONFIDENCE)
    labels = np.where(np.isfinite(own), labels, -1)
    if not (labels >= 0).any():
        return None
    confidence = rows.column(ANSWER_CONFIDENCE)
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
