"""An image set of what is left of a set of a run, once its marked images are left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from gsc_core.errors import GscError
from gsc_core.images import ImageSet, read_folder
from gsc_core.images.aside import folder_written_aside
from gsc_core.jobs.database import Job, Kind, StoredSet
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, run_images, runs, usage
from gsc_core.workspace.run_images import LABELS_FILE


class RemainderOrder(JobOrder):
    """Of which set of which run, without which images, named by their SHA-256."""

    kind: ClassVar[Kind] = Kind.REMAINDER
    run: str
    set: str
    without: tuple[str, ...]


def submit_remainder(run: Run, set_name: str, name: str) -> StoredSet:
    """Have an image set made of what is left of a run's set, with the labels as corrected.

    Raises GscError when nothing of it is marked or left, and when the name cannot be taken.
    """
    person = acting.ensure(Action.ADD)
    usage.ensure_room(person.name)
    of_set = (part for part in run_images.remainders(run) if part.set == set_name)
    part = next(of_set, None)
    if part is None:
        raise GscError(f"No image of {set_name} is left out by a mark, or none is left.")
    role = set_name if set_name in ("id", "calibration") else "ood"
    left, out = set(part.rows), part.left_out
    stored = imagesets.new_set(name, role, f"{set_name} of run {run.id}, {out:,} left out")
    if role != "ood" and (run.column("label")[list(part.rows)] >= 0).any():
        stored.labels_from = str(Path(stored.folder) / LABELS_FILE)
    rows = [row for row in run.members().by_name[set_name].tolist() if row not in left]
    without = tuple(run.cells("sha256", rows))
    order = RemainderOrder(run=run.id, set=set_name, without=without)
    return imagesets.begin(stored, order, f"Making {stored.name}")


def make_remainder(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `REMAINDER` job: copy what is left and read it as a set; see `tasks`."""
    order = RemainderOrder.of(job)
    on_count = imagesets.counting(on_progress, "copying the images that are left")
    imagesets.finish(job, lambda stored: _remainder(stored, order, on_count))


def _remainder(
    stored: StoredSet, order: RemainderOrder, on_count: Callable[[int, int], None]
) -> ImageSet:
    folder = Path(stored.folder)
    if not folder.is_dir():  # it is there whole or not at all
        for left in folder.parent.glob(".part-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        run, without = Run.load(runs.run_folder(order.run)), frozenset(order.without)
        every = run.rows_of([order.set]).tolist()
        digests = zip(every, run.cells("sha256", every), strict=True)
        rows = [row for row, digest in digests if digest not in without]
        with folder_written_aside(folder) as part:
            run_images.write_images(run, rows, part, on_count)
    table = folder / LABELS_FILE
    labels = table if stored.role != "ood" and table.is_file() else None
    return read_folder(folder, stored.name, labels, on_count)
