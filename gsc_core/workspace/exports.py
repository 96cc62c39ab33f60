"""Exports of a run's detector as the app asks for them: made by a worker, kept with the run.

Each lies in a folder of its own, `runs/<id>/exports/<job id>/`: the program, its card, ONNX where
that was asked for, and last the order itself, which shows that all is there.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from gsc_core.audit.spec import AuditSpec
from gsc_core.deploy.card import DetectorCard, read_card
from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import format_rule
from gsc_core.images.aside import folder_written_aside
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, session
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.layout import CALIBRATION_FILE
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import runs, usage

MAX_EXPORTS = 10
"""How many exports of a run are kept, the newest."""

PROGRAM_FILE, CARD_FILE, ONNX_FILE = "detector.pt2", "detector.json", "detector.onnx"
_ORDER_FILE = "order.json"
_ID = re.compile(r"[0-9a-f]{12}")


class Order(JobOrder):
    """What was asked for: a detector with its threshold, of a `version` of the run."""

    kind: ClassVar[Kind] = Kind.EXPORT
    decision: Decision
    onnx: bool
    version: int


@dataclass(frozen=True)
class StoredExport:
    """A finished export: its files with their sizes in bytes, the program first.

    `current` tells whether it was made from the run as it is now.
    """

    id: str
    folder: Path
    order: Order
    card: DetectorCard
    files: Mapping[str, int]
    current: bool

    def path(self, file: str) -> Path:
        """Where one of the `files` lies."""
        return self.folder / file


def obstacle(run: Run) -> str | None:
    """Why no detector of this run can be exported, as far as its files show at a glance."""
    try:
        checkpoint = AuditSpec.of_run(run.path).model.checkpoint
    except GscError as error:
        return str(error)
    if not (run.path / CALIBRATION_FILE).is_file():
        return (
            "This audit was made before calibration was stored: run the audit again to export its "
            "detector."
        )
    if checkpoint is not None and not checkpoint.is_file():
        return f"The model file {checkpoint} is gone: put it back, or run the audit again."
    return None


def submit_export(run_id: str, decision: Decision, *, onnx: bool = False) -> Job:
    """Queue an export; the same one that waits or runs already is given instead of a second.

    Raises GscError when the run cannot be opened again or has no such detector, and for a threshold
    that flags all or nothing.
    """
    usage.ensure_room(acting.ensure(Action.START).name)
    run = Run.load(runs.run_folder(run_id))
    if decision.detector not in run.detectors:
        raise GscError(f"This run has no detector {decision.detector}: choose one of its own.")
    decisions.ensure_finite(decision)
    if reason := obstacle(run):
        raise GscError(reason)
    order = Order(decision=decision, onnx=onnx, version=run.version)
    title = f"Detector {decision.detector} of {runs.title(run_id)}"
    with session():  # held, so that two visitors cannot both find none
        asked = next((job for job in at_work(run_id) if order.is_of(job)), None)
        return asked or orders.submit(order, title, run_id)


def command(run: Run, decision: Decision, *, onnx: bool = False) -> str:
    """The same export as one would ask for it on the command line."""
    words = ["gsc", "export", run.id, "--detector", decision.detector]
    words += ["--threshold", format_rule(decision.rule), "--out", PROGRAM_FILE]
    return shlex.join([*words, "--onnx"] if onnx else words)


def at_work(run_id: str) -> list[Job]:
    """The exports of a run that wait or run, in their order."""
    return queue.jobs(kinds=(Kind.EXPORT,), states=queue.WAITING, subject=run_id)[::-1]


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of an `EXPORT` job; see `tasks`."""
    run = Run.load(runs.run_folder(job.subject))
    order, folder = Order.of(job), _folder(run, job.id)
    if _read(run, folder) is None:  # else killed between the result and its record
        _make(run, order, folder, on_progress)
    for old in exports(run)[MAX_EXPORTS:]:
        delete_export(run.id, old.id)


def exports(run: Run) -> tuple[StoredExport, ...]:
    """What was made of a run's detectors, the newest first; what cannot be read is left out."""
    stored = [
        stored
        for folder in (run.path / "exports").glob("*")
        if _ID.fullmatch(folder.name) and (stored := _read(run, folder)) is not None
    ]
    return tuple(sorted(stored, key=lambda export: (export.card.made, export.id), reverse=True))


def delete_export(run_id: str, export_id: str) -> None:
    """Remove an export; nothing when it is gone.

    Raises GscError when it cannot be removed, and for who may not change the run.
    """
    acting.ensure(Action.DELETE, runs.owner(run_id))
    acting.record(Event.DELETED, "export", export_id, runs.title(run_id))
    if not _ID.fullmatch(export_id):
        raise GscError("There is no such exported detector: choose one from the list.")
    folder = runs.run_folder(run_id) / "exports" / export_id
    try:
        (folder / _ORDER_FILE).unlink(missing_ok=True)  # first: what is half removed is not listed
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror or error
        raise GscError(f"The export cannot be deleted ({reason}): check its folder.") from error


def _make(run: Run, order: Order, folder: Path, on_progress: Callable[[Progress], None]) -> None:
    from gsc_core.deploy.export import export_detector  # noqa: PLC0415 - a page needs none of it

    if order.version != run.version:
        raise GscError(
            "The audit has been repeated since this detector was asked for: ask for it again."
        )
    decision = order.decision
    for left in (folder, *folder.parent.glob(".part-*")):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with folder_written_aside(folder) as part:
        export_detector(
            run.path,
            decision.detector,
            decision.value,
            format_rule(decision.rule),
            part / PROGRAM_FILE,
            on_progress,
            onnx=order.onnx,
        )
        (part / _ORDER_FILE).write_text(order.model_dump_json(), encoding="utf-8")


def _read(run: Run, folder: Path) -> StoredExport | None:
    try:
        order = Order.model_validate_json((folder / _ORDER_FILE).read_bytes())
        card = read_card(folder / CARD_FILE)
        there = {name: folder / name for name in (PROGRAM_FILE, CARD_FILE, ONNX_FILE)}
        files = {name: path.stat().st_size for name, path in there.items() if path.is_file()}
    except (OSError, ValidationError, GscError):
        return None
    if PROGRAM_FILE not in files:
        return None
    current = order.version == run.version
    return StoredExport(folder.name, folder, order, card, files, current)


def _folder(run: Run, export_id: str) -> Path:
    if not _ID.fullmatch(export_id):
        raise GscError("There is no such exported detector: choose one from the list.")
    return run.path / "exports" / export_id
