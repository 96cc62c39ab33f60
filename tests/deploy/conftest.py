"""One audit whose detectors are exported once, for all tests of what was written."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from exportable import AS_ONNX, DETECTORS, Opened, audited, exported_here, of_set
from small_audit import write_stage

from gsc_core.deploy.export import Exported
from gsc_core.deploy.loading import load_detector


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished audit, its model and images beside it."""
    here = write_stage(tmp_path_factory.mktemp("stage"))
    audited(here, here / "run", DETECTORS)
    return here


@pytest.fixture(scope="session")
def write(stage: Path) -> Callable[[str], Exported]:
    """Exports a detector of the audit, once; as ONNX too where it is looked at in that form."""

    @cache
    def exported(detector: str) -> Exported:
        middle = float(np.median(of_set(stage, detector, "calibration")))
        out = stage / "exports" / detector / "detector.pt2"
        rule = f"typed:{middle!r}"
        return exported_here(stage / "run", detector, middle, rule, out, onnx=detector in AS_ONNX)

    return exported


@pytest.fixture(scope="session")
def opened(write: Callable[[str], Exported]) -> Opened:
    """Opens an exported detector as a user does, once."""
    return cache(lambda detector: load_detector(write(detector).program))
