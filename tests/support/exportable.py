"""An audit of many detectors to export, and its scores and images."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_audit import MEAN, STD
from torch import Tensor

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.deploy.card import DetectorCard
from gsc_core.deploy.export import Exported, export_detector
from gsc_core.deploy.loading import Detect
from gsc_core.detectors.catalogue import parse_detectors
from gsc_core.errors import CheckpointError
from gsc_core.images.decode import decode

NEW = ("gsc-energy", "lts", "optfs", "ras", "actsub", "adascale", "rmd", "neco", "cadref")
AS_ONNX = ("gsc", *NEW, "mahalanobis", "gsc+knn")
Opened = Callable[[str], tuple[Detect, DetectorCard]]
DETECTORS = f"gsc,gsc-auto,energy,react,knn,mahalanobis,odin,{','.join(NEW)},gsc+knn"


def audited(here: Path, out: Path, detectors: str, split: str | None = None) -> None:
    preprocessing = Preprocessing(resize=12, crop=(12, 12), mean=(MEAN,) * 3, std=(STD,) * 3)
    run_audit(
        AuditSpec(
            model=ModelSpec(checkpoint=here / "small.pt2", preprocessing=preprocessing),
            id=here / "id",
            calibration=here / "calibration",
            ood={"noise": here / "noise", "faint": here / "faint"},
            detectors=tuple(DetectorSpec.of(each) for each in parse_detectors(detectors)),
            split=split,
            device="cpu",
            repeats=20,
        ),
        out,
    )


def exported_here(*args: Any, **options: Any) -> Exported:
    """As `export_detector`; skipped, in the product's words, where this torch is too old for it."""
    try:
        return export_detector(*args, **options)
    except CheckpointError as error:
        if "or update torch" not in str(error):
            raise
        pytest.skip(str(error))


def of_set(stage: Path, column: str, name: str) -> np.ndarray:
    table = pq.read_table(stage / "run" / "scores.parquet")
    return table[column].to_numpy()[np.array(table["set"].to_pylist()) == name]


def images_of(stage: Path, name: str) -> list[Tensor]:
    return [decode(stage / name / file) for file in of_set(stage, "file", name)]


def copied(written: Exported, to: Path) -> Path:
    for path in (written.program, written.card_path):
        shutil.copy(path, to / path.name)
    return to / written.program.name
