"""The document of a finished audit: what `--json` prints and `metrics.json` holds."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from gsc_core import __version__
from gsc_core.detectors import Detector
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.ensemble import AutoEnsemble
from gsc_core.detectors.gsc import GSC
from gsc_core.evaluation.intervals import MEAN, Interval, evaluate
from gsc_core.evaluation.metrics import metrics
from gsc_core.images import Broken, LeftOut
from gsc_core.run.layout import PREDICTED_AFTER
from gsc_core.scoring.calibration import Calibrated

MOST_NAMED = 1000  # files named one by one; the counts are always whole
CALIBRATION = "calibration"  # no OOD set may be named so
LIBRARIES = ("torch", "torchvision", "timm", "pytorch-ood", "numpy", "pillow")


@dataclass(frozen=True)
class Measured:
    """One detector on every OOD set: rows of `results`, and what stands beside them."""

    detector: Detector
    rows: list[dict[str, Any]]
    surrogate_auroc: float | None
    accuracy_after: float | None
    chosen: dict[str, Any]  # its settings with nothing left to choose

    @property
    def inverted(self) -> bool:
        """Whether OOD images or surrogate outliers score lower than ID images."""
        mean = next(row for row in self.rows if row["ood_set"] == MEAN)
        on_surrogates = 1.0 if self.surrogate_auroc is None else self.surrogate_auroc
        return min(float(mean["auroc"]), on_surrogates) < 0.5


def measure(
    table: pa.Table,
    detectors: Sequence[Detector],
    calibrated: Calibrated,
    repeats: int,
    seed: int,
    excusing: Callable[[Detector], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> dict[str, Any]:
    """What was measured: every detector on every OOD set, accuracies, inverted detectors.

    `table` is `scores.parquet`. A detector is inverted when OOD images, or the surrogate outliers
    made of calibration images, score lower than ID images (AUROC under 0.5). Calibration scores of
    the detectors `in_sample` are of images these have learned from. `chosen` has the settings that
    detectors chose, `selections` and `partners` what they chose from. Each is measured inside
    `excusing`, and left out where that ends it.
    """
    known = table.filter(pc.and_(pc.equal(table["role"], "id"), pc.greater(table["label"], -1)))
    rows = _rows_of(table)

    def of(detector: Detector) -> Measured:
        name = detector.name
        values = table[name].to_numpy()
        scores = {set_name: values[of_set] for set_name, of_set in rows.items()}
        found = evaluate(scores.pop("id"), scores, repeats, seed)
        after = PREDICTED_AFTER + name
        return Measured(
            detector,
            [_row(name, ood_set, intervals) for ood_set, intervals in found.items()],
            None if calibrated.surrogates is None else _on_surrogates(calibrated, name),
            _accuracy(known, after) if after in known.column_names else None,
            detector.frozen(),
        )

    each: dict[str, Measured] = {}
    for detector in detectors:
        with excusing(detector):
            each[detector.name] = of(detector)
    there = [measured.detector for measured in each.values()]
    return {
        "results": [row for measured in each.values() for row in measured.rows],
        "id_accuracy": _accuracy(known, "predicted"),
        "id_accuracy_after": {
            name: m.accuracy_after for name, m in each.items() if m.accuracy_after is not None
        },
        "inverted": [name for name, measured in each.items() if measured.inverted],
        "in_sample": [name for name in calibrated.in_sample if name in each],
        "surrogate_auroc": {
            name: m.surrogate_auroc for name, m in each.items() if m.surrogate_auroc is not None
        },
        "chosen": {
            name: measured.chosen
            for name, measured in each.items()
            if measured.chosen != measured.detector.settings()
        },
        "selections": {
            detector.name: detector.selection_.model_dump(mode="json")
            for detector in there
            if isinstance(detector, AutoGSC) and detector.selection_ is not None
        },
        "partners": {
            detector.name: detector.losses_
            for detector in there
            if isinstance(detector, AutoEnsemble) and detector.losses_
        },
        "directions": {
            detector.name: "turned" if detector.turned_ else "as published"
            for detector in there
            if isinstance(detector, GSC)
        },
    }


def count(
    table: pa.Table, left_out: Mapping[str, LeftOut], broken: Mapping[str, Sequence[Broken]]
) -> dict[str, Any]:
    """How many pictures of each set were scored, broken and doubled, and which.

    `broken` are those whose header was right and whose pixels were not.
    """
    scored = {pair["values"]: pair["counts"] for pair in pc.value_counts(table["set"]).to_pylist()}
    images: dict[str, dict[str, int]] = {}
    named: dict[str, dict[str, list[dict[str, str]]]] = {}
    for name, number in scored.items():
        found = left_out.get(name, LeftOut((), ()))
        damaged = (*found.broken, *broken.get(name, ()))
        images[name] = {
            "scored": number,
            "broken": len(damaged),
            "duplicates": len(found.duplicates),
        }
        named[name] = {
            "broken": [asdict(one) for one in damaged[:MOST_NAMED]],
            "duplicates": [asdict(one) for one in found.duplicates[:MOST_NAMED]],
        }
    return {"images": images, "left_out": named}


def versions() -> dict[str, str]:
    """The versions a figure depends on."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {"gsc-audit": __version__, "python": platform.python_version(), **libraries}


def machine(device: torch.device) -> dict[str, Any]:
    """Where and when it ran."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"device": str(device), "machine": name, "finished": now}


def _rows_of(table: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """Row numbers by set, without the calibration images."""
    sets = table["set"].to_numpy(zero_copy_only=False)
    return {
        name: np.flatnonzero(sets == name) for name in dict.fromkeys(sets) if name != CALIBRATION
    }


def _row(detector: str, ood_set: str, found: Mapping[str, Interval]) -> dict[str, Any]:
    """The bounds take the value in: average precision is biased upwards when resampled."""
    row: dict[str, Any] = {"detector": detector, "ood_set": ood_set}
    for metric, interval in found.items():
        row |= {metric: interval.value}
        row |= {f"{metric}_low": min(interval.low, interval.value)}
        row |= {f"{metric}_high": max(interval.high, interval.value)}
    return row


def _on_surrogates(calibrated: Calibrated, detector: str) -> float:
    assert calibrated.surrogates is not None
    ours = calibrated.scores.outlier[detector][: calibrated.sample]
    return metrics(ours.numpy(), calibrated.surrogates.outlier[detector].numpy()).auroc


def _accuracy(known: pa.Table, column: str) -> float | None:
    if not known.num_rows:
        return None
    share: float = pc.mean(pc.equal(known["label"], known[column])).as_py()
    return share
