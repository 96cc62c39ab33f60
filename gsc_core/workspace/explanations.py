"""Explanations of single images as the app asks for them: made by a worker, kept with the run.

An image of the run is known by its row in `scores.parquet`; one that a person tries lies beside
the run under the id of the try.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ClassVar

from pydantic import AliasChoices, Field

from gsc_core.errors import GscError, ImageError
from gsc_core.files import written_aside
from gsc_core.images.aside import folder_written_aside
from gsc_core.images.opening import MAX_BYTES
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, State, new_id
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run import decisions, gallery
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import image_results
from gsc_core.workspace.image_results import Judged

MAX_TRIES = 50
_TRY_ID = re.compile(r"[0-9a-f]{12}")
_IMAGE_FILE = "picture"
_USUAL = "gsc"  # explains where no detector of the run does
_LONGEST_NAME = 200


class ExplainOrder(JobOrder):
    """Which row to explain by which detector, of a `version` of the run."""

    kind: ClassVar[Kind] = Kind.EXPLAIN
    row: int
    detector: str
    version: int = 0


class TryOrder(JobOrder):
    """Which of the kept tries to judge, and what its file was called."""

    kind: ClassVar[Kind] = Kind.TRY
    try_id: str = Field(validation_alias=AliasChoices("try", "try_id"), serialization_alias="try")
    file_name: str


class StoredExplanation(Judged):
    """An image of the run, explained."""


class Tried(Judged):
    """An image that a person tried; `image` is its file."""

    image: Path


def explainers(run: Run) -> tuple[str, ...]:
    """The detectors that can explain an image: the run's GSC ones, else the usual one."""
    records = {name: run.record(name) for name in run.detectors}
    able = tuple(name for name, record in records.items() if record and record.explains)
    return able or (_USUAL,)


def ask(run_id: str, row: int, detector: str) -> Job | None:
    """Queue the explanation of a row by one of the `explainers`.

    None when it is there, or was asked for already: `asked` gives that job, which may have failed
    and is tried again with `queue.retry`. Raises GscError for a run, row or detector that is not
    there.
    """
    acting.ensure(Action.START)
    run = image_results.loaded(run_id)
    (image,) = gallery.run_images(run, [row])
    if detector not in explainers(run):
        raise GscError(f"{detector} explains no image here: choose {explainers(run)[0]}.")
    if explanation(run_id, row, detector) is not None or asked(run_id, row, detector) is not None:
        return None
    title = f"Explain {image.file[-_LONGEST_NAME:]}"
    return orders.submit(_order(run, row, detector), title, run_id)


def asked(run_id: str, row: int, detector: str) -> Job | None:
    """The job by which this explanation is waited for, or that failed to make it; else None."""
    order = _order(image_results.loaded(run_id), row, detector)
    states = (*queue.WAITING, State.FAILED)
    result = queue.jobs(kinds=(Kind.EXPLAIN,), states=states, subject=run_id)
    return next((job for job in result if order.is_of(job)), None)


def explanation(run_id: str, row: int, detector: str) -> StoredExplanation | None:
    """The stored explanation of a row; None until it was made for the run as it is now."""
    return stored(image_results.loaded(run_id), row, detector)


def stored(run: Run, row: int, detector: str) -> StoredExplanation | None:
    """As `explanation`, of a run that was loaded already."""
    return image_results.read(run, _folder(run, row, detector), StoredExplanation)


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of an `EXPLAIN` job; see `tasks`."""
    run = image_results.loaded(job.subject)
    order = ExplainOrder.of(job)
    row, detector = order.row, order.detector
    if stored(run, row, detector) is not None:  # killed between the result and its record
        return
    make(run, row, detector, on_progress)


def make(run: Run, row: int, detector: str, on_progress: Callable[[Progress], None]) -> None:
    """Explain a row and keep that; raises GscError when its image is gone or cannot be read."""
    (image,) = gallery.run_images(run, [row])
    data = gallery.image_bytes(run, row)
    audit = image_results.warm(run, on_progress)
    on_progress(Progress("looking at the image", 0, 1))
    seen = audit.look(data, image.file)
    scores = {name: float(run.column(name)[row]) for name in run.detectors}
    own = row if image.role == "calibration" else None  # these rows come first
    result = image_results.judge(run, audit, seen, image.file, scores, detector, own)
    folder = _folder(run, row, detector)
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier audit in this folder, or damaged
    with folder_written_aside(folder) as part:
        image_results.write(part, result, seen)


def ask_try(run_id: str, file: BinaryIO, file_name: str) -> Job:
    """Keep an image beside the run and queue its judgement; `try_id` gives its id.

    The newest 50 tries are kept. Raises ImageError for a file of more than 500 MB, GscError for a
    run that is not there.
    """
    acting.ensure(Action.ADD)
    run = image_results.loaded(run_id)
    make_room(run)
    order = TryOrder(try_id=new_id(), file_name=file_name[-_LONGEST_NAME:])
    name = order.file_name
    with (
        written_aside(try_folder(run, order.try_id) / _IMAGE_FILE) as part,
        part.open("wb") as target,
    ):
        while block := file.read(2**20):
            if target.tell() + len(block) > MAX_BYTES:
                raise ImageError(f"{name} is larger than 500 MB: save it smaller.")
            target.write(block)
    job = orders.submit(order, f"Try {name}", run_id)
    acting.record(Event.ADDED, "image", order.try_id, name)
    return job


def try_id(job: Job) -> str | None:
    """The id of the try that a `TRY` job judges; None when it cannot be read."""
    order = TryOrder.read(job)
    return None if order is None else order.try_id


def try_one(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `TRY` job; see `tasks`. A file that is not an image is reported and removed."""
    run = image_results.loaded(job.subject)
    order = TryOrder.of(job)
    folder, name = try_folder(run, order.try_id), order.file_name
    path = folder / _IMAGE_FILE
    if not path.is_file():
        raise GscError(f"{name} is no longer stored: drop it again.")
    audit = image_results.warm(run, on_progress)
    on_progress(Progress("looking at the image", 0, 1))
    try:
        seen = audit.look(path.read_bytes(), name)
    except ImageError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    deciding, able = decisions.current(run).detector, explainers(run)
    detector = deciding if deciding in able else able[0]
    image_results.write(
        folder, image_results.judge(run, audit, seen, name, audit.score(seen), detector), seen
    )


def waiting_file(run: Run, try_id: str) -> Path:
    """The image of a try, to show while it is judged."""
    return try_folder(run, try_id) / _IMAGE_FILE


def tried(run_id: str, try_id: str) -> Tried | None:
    """The judgement of a tried image, by the run's decision as it is now.

    None while it is waited for, for a try that is not kept, and once the run was audited again.
    """
    run = image_results.loaded(run_id)
    folder = try_folder(run, try_id)
    return image_results.read(run, folder, Tried, image=folder / _IMAGE_FILE)


def _order(run: Run, row: int, detector: str) -> ExplainOrder:
    return ExplainOrder(row=int(row), detector=detector, version=run.version)


def _folder(run: Run, row: int, detector: str) -> Path:
    digest = hashlib.sha256(detector.encode()).hexdigest()[:12]
    return run.path / "explanations" / f"{row}-{digest}"


def try_folder(run: Run, try_id: str) -> Path:
    """Where the files of a try lie; raises GscError for what is not an id of one."""
    if not _TRY_ID.fullmatch(try_id):
        raise GscError("There is no such tried image: drop it again.")
    return run.path / "tried" / try_id


def make_room(run: Run) -> None:
    """Throw the oldest tries away, so that with one more there are as many as are kept."""
    waiting = queue.jobs(kinds=(Kind.TRY, Kind.TRY_MANY), states=queue.WAITING, subject=run.id)
    folders = sorted((run.path / "tried").glob("*"), key=_age)
    for folder in folders[: max(0, len(folders) - MAX_TRIES + 1)]:
        if not any(orders.names(job, folder.name) for job in waiting):
            shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:  # another visitor has just thrown it away
        return 0
