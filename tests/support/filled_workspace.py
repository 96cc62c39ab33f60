"""A workspace with the small classifier and its images, added as the app adds them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from small_audit import PREPROCESS, write_stage

from gsc_core.classifier import Preprocessing
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, State, session
from gsc_core.workspace import imagesets, models
from gsc_core.workspace.tasks import TASKS

SETS = {"photos": "id", "more photos": "calibration", "noise": "ood", "faint": "ood"}
_FOLDERS = {"photos": "id", "more photos": "calibration"}


def fill(
    folder: Path,
    sets: Mapping[str, str] = SETS,
    plant: Callable[[Path], object] = lambda stage: None,
) -> None:
    """Add the model `small` and sets to GSC_HOME; the files lie in `folder`.

    `plant` is done to the files before they are added.
    """
    stage = write_stage(folder)
    plant(stage)
    for name, role in sets.items():
        imagesets.register(stage / _FOLDERS.get(name, name), name=name, role=role, origin="a test")
    with (stage / "small.pt2").open("rb") as file:
        prepared = Preprocessing.parse(PREPROCESS)
        models.add_model(file, "small.pt2", name="small", preprocessing=prepared)
    work_off()


def work_off() -> None:
    """Do all that is queued here and now, as the workers would."""
    for job in reversed(queue.jobs(states=(State.QUEUED,))):
        TASKS[job.kind](job, lambda _: None)
        set_state(job, State.DONE)


def set_state(job: Job, state: State, **fields: object) -> None:
    """Put a job into a state, as a worker would have."""
    with session() as db:
        stored = db.get(Job, job.id)
        assert stored is not None
        stored.sqlmodel_update({"state": state, "started": time.time(), **fields})
        db.add(stored)
