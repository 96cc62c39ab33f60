"""A finished audit of the small classifier, as it lies in a workspace."""

import os
import shutil
from pathlib import Path

import pytest
from small_audit import PREPROCESS, write_stage

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, State
from gsc_core.workspace.tasks import TASKS

RUN = "small"
NAMES = ("gsc", "energy", "knn", "gsc-drop")


def spec_of(stage: Path, model: str = "small.pt2", names: tuple[str, ...] = NAMES) -> AuditSpec:
    return AuditSpec(
        model=ModelSpec(checkpoint=stage / model, preprocessing=Preprocessing.parse(PREPROCESS)),
        id=stage / "id",
        calibration=stage / "calibration",
        ood={"faint": stage / "faint", "noise": stage / "noise"},
        detectors=tuple(DetectorSpec(name=name) for name in names),
        repeats=10,
    )


def make(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A stage, and in `home` a workspace with a finished run."""
    spec = spec_of(write_stage(folder / "stage"), names=names)
    run_audit(spec, folder / "home" / "runs" / RUN)
    return folder


def copy(made: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's folder, in a workspace of the test's own."""
    shutil.copytree(made / "home", to / "home")
    monkeypatch.setenv("GSC_HOME", str(to / "home"))
    return to / "home" / "runs" / RUN


def do(job: Job | None) -> None:
    """What a worker does."""
    assert job is not None
    claimed = queue.claim(job.lane, os.getpid())
    assert claimed is not None and claimed.id == job.id
    TASKS[job.kind](claimed, lambda _: None)
    queue.end(job.id, State.DONE)
