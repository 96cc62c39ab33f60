"""What an audit measured, filled into the document of its run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from gsc_core import __version__
from gsc_core.detectors.auto import AutoGSC
from gsc_core.detectors.auto_ensemble import AutoEnsemble
from gsc_core.detectors.base import Detector, Fit
from gsc_core.detectors.gsc import GSC
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.metrics import metrics
from gsc_core.images import Broken, LeftOut
from gsc_core.run.document import (
    DetectorRecord,
    FittedWith,
    FusedPart,
    FusedScore,
    ImageCounts,
    LeftOutImages,
    PaperRecord,
    Result,
    RunDocument,
)
from gsc_core.run.layout import PREDICTED_AFTER
from gsc_core.run.results import results_of
from gsc_core.scoring.calibration import Calibrated

MAX_NAMED = 1000  # files named one by one; the counts are always whole
_PREDICTED = "predicted"  # begins the columns of classes
CALIBRATION = "calibration"  # no OOD set may be named so
LIBRARIES = ("torch", "torchvision", "timm", "pytorch-ood", "numpy", "pillow")


@dataclass(frozen=True)
class Measured:
    """One detector on every OOD set, and what stands beside that."""

    detector: Detector
    rows: tuple[Result, ...]
    surrogate_auroc: float | None
    accuracy_after: float | None
    settings: dict[str, Any]  # its settings with nothing left to choose

    @property
    def inverted(self) -> bool:
        """Whether OOD images or surrogate outliers score lower than ID images."""
        mean = next(row for row in self.rows if row.ood_set == MEAN)
        on_surrogates = 1.0 if self.surrogate_auroc is None else self.surrogate_auroc
        return min(mean.metrics["auroc"].value, on_surrogates) < 0.5


def measure(
    table: pa.Table,
    detectors: Sequence[Detector],
    calibrated: Calibrated,
    repeats: int,
    seed: int,
    excusing: Callable[[Detector], AbstractContextManager[None]] = lambda _: nullcontext(),
    required: Callable[[], None] = lambda: None,
) -> RunDocument:
    """The document of what was measured, without what is said of the run itself.

    `table` is `scores.parquet`. A detector is inverted when OOD images, or the surrogate outliers
    made of calibration images, score lower than ID images (AUROC under 0.5). Each detector is
    measured inside `excusing`, and left out where that ends it; `required` is called after the last
    and raises where none is left.
    """
    classes = [name for name in table.column_names if name.startswith(_PREDICTED)]
    labelled = table.select(["label", *classes]).filter(
        pc.and_(pc.equal(table["role"], "id"), pc.greater(table["label"], -1))
    )
    rows = _rows_of(table)

    def of(detector: Detector) -> Measured:
        name = detector.name
        values = table[name].to_numpy()
        scores = {set_name: values[of_set] for set_name, of_set in rows.items()}
        after = PREDICTED_AFTER + name
        return Measured(
            detector,
            results_of(name, scores, repeats, seed),
            None if calibrated.surrogates is None else _on_surrogates(calibrated, name),
            _accuracy(labelled, after) if after in labelled.column_names else None,
            detector.frozen(),
        )

    by_name: dict[str, Measured] = {}
    for detector in detectors:
        with excusing(detector):
            by_name[detector.name] = of(detector)
    required()
    document = _document_of(by_name)
    return document.model_copy(
        update={
            "id_accuracy": _accuracy(labelled, "predicted"),
            "in_sample": tuple(name for name in calibrated.in_sample if name in by_name),
        }
    )


def _document_of(by_name: Mapping[str, Measured]) -> RunDocument:
    there = [measured.detector for measured in by_name.values()]
    return RunDocument(
        results=tuple(row for measured in by_name.values() for row in measured.rows),
        id_accuracy_after={
            name: m.accuracy_after for name, m in by_name.items() if m.accuracy_after is not None
        },
        inverted=tuple(name for name, measured in by_name.items() if measured.inverted),
        surrogate_auroc={
            name: m.surrogate_auroc for name, m in by_name.items() if m.surrogate_auroc is not None
        },
        chosen={
            name: measured.settings
            for name, measured in by_name.items()
            if measured.settings != measured.detector.settings()
        },
        selections={
            detector.name: detector.selection_
            for detector in there
            if isinstance(detector, AutoGSC) and detector.selection_ is not None
        },
        fusions={
            detector.name: fused_score(detector)
            for detector in there
            if isinstance(detector, AutoEnsemble) and detector.fusion_ is not None
        },
        directions={
            detector.name: "turned" if detector.flipped_ else "as published"
            for detector in there
            if isinstance(detector, GSC)
        },
    )


def fused_score(detector: AutoEnsemble) -> FusedScore:
    """What each part counts in the score of a fitted ensemble that weighs them."""
    fusion = detector.fusion_
    assert fusion is not None, "learn() comes first"
    columns = (fusion.weights, fusion.scale.middle, fusion.scale.spread)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    return FusedScore(
        parts=tuple(
            FusedPart(detector=part.name, weight=weight, middle=middle, spread=spread)
            for part, (weight, middle, spread) in zip(detector.parts_, numbers, strict=True)
        ),
        useless=detector.useless_,
        learned=fusion.learned,
    )


def record(detector: Detector) -> DetectorRecord:
    """What the document says of a detector."""
    learned: dict[Fit, FittedWith] = {
        Fit.IMAGES: "images",
        Fit.LABELS: "labels",
        Fit.SURROGATES: "surrogates",
    }
    return DetectorRecord(
        name=detector.name,
        title=detector.title,
        about=detector.about,
        family=detector.family,
        fails_on=detector.fails_on,
        fitted_with=tuple(word for fit, word in learned.items() if fit in detector.fitted_with),
        explains=detector.explains,
        paper=None if detector.paper is None else PaperRecord(**asdict(detector.paper)),
        settings=detector.settings(),
    )


def counts_of(
    table: pa.Table, left_out: Mapping[str, LeftOut], broken: Mapping[str, Sequence[Broken]]
) -> tuple[dict[str, ImageCounts], dict[str, LeftOutImages]]:
    """How many images of each set were scored, have no class, were left out, and which.

    `broken` are those whose header was right and whose pixels were not.
    """
    scored = {pair["values"]: pair["counts"] for pair in pc.value_counts(table["set"]).to_pylist()}
    unknown = table.select(["set", "role", "label"]).filter(
        pc.and_(pc.not_equal(table["role"], "ood"), pc.less(table["label"], 0))
    )
    without = pc.value_counts(unknown["set"]).to_pylist()
    without_class = {pair["values"]: pair["counts"] for pair in without}
    counts, named = {}, {}
    for name, number in scored.items():
        of_set = left_out.get(name, LeftOut((), ()))
        damaged = (*of_set.broken, *broken.get(name, ()))
        doubled = of_set.duplicates
        counts[name] = ImageCounts(
            scored=number,
            without_class=without_class.get(name, 0),
            broken=len(damaged),
            duplicates=len(doubled),
        )
        named[name] = LeftOutImages.model_validate(
            {
                "broken": [asdict(one) for one in damaged[:MAX_NAMED]],
                "duplicates": [asdict(one) for one in doubled[:MAX_NAMED]],
            }
        )
    return counts, named


def versions() -> dict[str, str]:
    """The versions a figure depends on."""
    installed: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # timm comes with an extra
            installed[name] = version(name)
    return {"gsc-audit": __version__, "python": platform.python_version(), **installed}


def machine(device: torch.device) -> dict[str, Any]:
    """Where and when it ran."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"device": str(device), "machine": name, "finished": now}


def _rows_of(table: pa.Table) -> dict[str, np.ndarray[Any, Any]]:
    """Row numbers by set, without the calibration images."""
    sets = table["set"].dictionary_encode().unify_dictionaries().combine_chunks()
    codes, names = np.asarray(sets.indices), sets.dictionary.to_pylist()
    return {
        name: np.flatnonzero(codes == code)
        for code, name in enumerate(names)
        if name != CALIBRATION
    }


def _on_surrogates(calibrated: Calibrated, detector: str) -> float:
    assert calibrated.surrogates is not None
    id_scores = calibrated.scores.outlier[detector][: calibrated.sample]
    return metrics(id_scores.numpy(), calibrated.surrogates.outlier[detector].numpy()).auroc


def _accuracy(labelled: pa.Table, column: str) -> float | None:
    if not labelled.num_rows:
        return None
    share: float = pc.mean(pc.equal(labelled["label"], labelled[column])).as_py()
    return share
