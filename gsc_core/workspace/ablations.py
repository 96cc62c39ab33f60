"""Ablations as the app asks for them: kept in the run's folder as `ablation.parquet`."""

from collections.abc import Callable
from typing import ClassVar

from gsc_core.ablation import Ablation, read_ablation
from gsc_core.ablation.settings import IMAGES_PER_SET
from gsc_core.ablation.table import ABLATION_FILE
from gsc_core.audit.spec import AuditSpec
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs

_START = 35.0  # seconds to open the model, to learn, and to measure all settings
_FORWARDS = 8.0  # forward passes that all settings at both layers cost beside it, an image
_SETTINGS = 0.03  # seconds an image that they cost however small the network is
_FORWARD = "the network's forward pass"


class AblationOrder(JobOrder):
    """How many images of each set to look at."""

    kind: ClassVar[Kind] = Kind.ABLATION
    images_per_set: int = IMAGES_PER_SET


def submit_ablation(run_id: str) -> Job:
    """Queue an ablation of a run, or give the one that waits already.

    Raises GscError when the run does not say what was audited.
    """
    acting.ensure(Action.START)
    AuditSpec.of_run(runs.run_folder(run_id))
    asked = queue.latest(run_id, Kind.ABLATION)
    if asked is not None and asked.state in queue.WAITING:
        return asked
    title = f"Ablation of {runs.title(run_id)}"
    return orders.submit(AblationOrder(), title, run_id)


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of an `ABLATION` job, from the start each time it is called; see `tasks`."""
    from gsc_core.ablation.run import ablate  # noqa: PLC0415 - heavy

    folder = runs.run_folder(job.subject)
    images = AblationOrder.of(job).images_per_set
    ablate(AuditSpec.of_run(folder), folder, on_progress, images_per_set=images)


def ablation(run_id: str) -> Ablation | None:
    """The ablation of a run; None when there is none yet. Raises GscError when it is damaged."""
    return read_ablation(runs.run_folder(run_id))


def version(run_id: str) -> int:
    """A number that changes when a run's ablation is replaced: the key of every cache of it."""
    path = runs.run_folder(run_id) / ABLATION_FILE
    return path.stat().st_mtime_ns if path.is_file() else 0


def images_used(run: Run) -> dict[str, int]:
    """About how many images of each set an ablation of this run takes."""
    return {name: min(counts.scored, IMAGES_PER_SET) for name, counts in run.images.items()}


def estimate(run: Run) -> float:
    """About how many seconds an ablation of this run takes, by what its audit took here.

    The constants were measured on a network of 0.4 and one of 4.7 million parameters.
    """
    images = sum(images_used(run).values())
    return _START + images * (_FORWARDS * _seconds_a_pass(run) + _SETTINGS)


def _seconds_a_pass(run: Run) -> float:
    """What the audit's passes took, for each image that it scored."""
    scored = max(1, sum(counts.scored for counts in run.images.values()))
    phases = run.provenance.recorded().get("phases") or {}
    spent = phases.get(_FORWARD, {}).get("wall_s")
    if spent is not None:
        return float(spent) / scored
    took = run.provenance.seconds  # of an earlier version, mostly of other things
    return took / scored / 4 if took is not None else 0.02
