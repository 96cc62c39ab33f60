"""The demo in the workspace: an audit of rendered road signs, and its parts to go on from.

Its model and its images become records like a user's own, so that a newcomer can start an audit
of other detectors or settings from them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from gsc_core.classifier import ModelSpec
from gsc_core.demo import DEMO_WEIGHTS, OOD_SETS, Sizes
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, Readiness, StoredModel, StoredSet, session
from gsc_core.jobs.home import home
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, models, runs, usage
from gsc_core.workspace.audits import Workload

Record = TypeVar("Record", StoredModel, StoredSet)
_ORIGIN = "Road signs drawn by the demo"


class DemoOrder(JobOrder):
    """The demo is always the same."""

    kind: ClassVar[Kind] = Kind.DEMO


def images_folder() -> Path:
    """Where the demo's images are drawn and kept."""
    return home() / "imagesets" / "demo"


def is_of_demo(record: StoredModel | StoredSet) -> bool:
    """Whether a record came with the demo: ids of a user's own are hexadecimal."""
    return record.id.startswith("demo-")


def submit_demo() -> Job:
    """Queue the demo audit; one that waits or runs already is given instead of a second."""
    usage.ensure_room(acting.ensure(Action.START).name)
    with session():  # held, so that two visitors cannot both find none
        last = queue.latest(runs.DEMO_RUN, Kind.DEMO)
        if last is None:
            return orders.submit(DemoOrder(), runs.DEMO_TITLE, runs.DEMO_RUN, _images())
        queue.retry(last.id)  # which leaves alone what has not ended
        return last


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `DEMO` job; see `tasks`."""
    from gsc_core.demo.audit import run_demo  # noqa: PLC0415 - heavy

    if runs.finished_at(runs.DEMO_RUN) < job.created:  # else done since it was asked for
        run_demo(images_folder(), runs.run_folder(runs.DEMO_RUN), on_progress)
    register(on_progress)


def register(on_progress: Callable[[Progress], None]) -> None:
    """Put the demo's sets and model on the lists, once; what a user renamed stays so."""

    def adding(_: Progress) -> None:
        on_progress(Progress("adding the demo's model and images", 0, 1))

    # We are in a worker, or on the command line: looked at here, without jobs of their own.
    for stored in _sets():
        if _added(stored):
            imagesets.look(_job(Kind.SET, stored), adding)
    model = _model()  # after the sets, from which it names some images
    if _added(model):
        models.look(_job(Kind.MODEL, model), adding)


def _added(record: Record) -> bool:
    """Put a record on its list if it is not there; whether it is still to be looked at."""
    with session() as db:
        stored = db.get(type(record), record.id)
        if stored is None:
            db.add(record)
        return stored is None or stored.readiness is Readiness.WAITING


def _images() -> int:
    """How many images are drawn, unless they are there, and pass the network."""
    sizes = Sizes()
    judged = sizes.id + len(OOD_SETS) * sizes.ood
    drawn = 0 if images_folder().exists() else sizes.calibration + judged
    return drawn + Workload(sizes.calibration, judged).total


def _sets() -> list[StoredSet]:
    folders = images_folder()
    named = {"id": "road signs", "calibration": "road signs to calibrate"}
    own = [_set(role, name, role, folders / role) for role, name in named.items()]
    return own + [_set(name, name, "ood", folders / "ood" / name) for name in OOD_SETS]


def _set(part: str, name: str, role: str, folder: Path) -> StoredSet:
    """Not `owned`: to delete the record must not leave the demo with half of its images."""
    return StoredSet(
        id=f"demo-{part}", name=name, role=role, folder=str(folder), origin=_ORIGIN, owned=False
    )


def _model() -> StoredModel:
    spec = ModelSpec(checkpoint=DEMO_WEIGHTS)
    return StoredModel(id="demo-model", name="Road signs (demo)", spec=spec.model_dump(mode="json"))


def _job(kind: Kind, record: StoredModel | StoredSet) -> Job:
    return Job(kind=kind, title=record.name, subject=record.id, lane=kind.lane)
