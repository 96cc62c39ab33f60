"""The most informative images about a decision, and their explanations, for the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gsc_core.errors import GscError
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, State, session
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run import decisions, gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import Wanted
from gsc_core.run.layout import ID
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import explanations, runs
from gsc_core.workspace.explanations import StoredExplanation

IN_A_GROUP = 4
PHASE = "explaining the images"


class ReportImagesOrder(JobOrder):
    """Which rows to explain, by which detector, of a `version` of the run."""

    kind: ClassVar[Kind] = Kind.REPORT_IMAGES
    rows: tuple[int, ...]
    detector: str
    version: int = 0


@dataclass(frozen=True)
class Group:
    """Images that tell the same thing, by their rows in `scores.parquet`."""

    title: str
    rows: tuple[int, ...]


def telling(run: Run, decision: Decision) -> tuple[Group, ...]:
    """Where the decision's detector errs most, and what it is surest of: four of each.

    Raises GscError when the scores are missing or damaged.
    """
    groups = {
        "Unfamiliar images that look most familiar": Wanted(run.ood_sets, descending=False),
        "Familiar images that look least familiar": Wanted((ID,)),
        "Unfamiliar images that stand out most": Wanted(run.ood_sets),
    }
    return tuple(Group(title, _first(run, decision, wanted)) for title, wanted in groups.items())


def explainer(run: Run, decision: Decision) -> str:
    """The detector that explains: the decision's where it can, else the first that can."""
    able = explanations.explainers(run)
    return decision.detector if decision.detector in able else able[0]


def explained(run: Run, row: int, decision: Decision | None = None) -> StoredExplanation | None:
    """An image's explanation by the `explainer`; None until it was made. The run's own decision
    is taken where none is given.
    """
    return explanations.stored(run, row, explainer(run, decision or decisions.current(run)))


def missing(run: Run, decision: Decision) -> tuple[int, ...]:
    """The rows of telling images that lie where they were audited and are not explained yet."""
    return _unexplained(run, _rows(run, decision), explainer(run, decision))


def explain(run: Run, decision: Decision, on_progress: Callable[[Progress], None]) -> None:
    """Make the explanations that are missing, here and now; those that are made are kept.

    `on_progress` may raise to stop. What fails for one image does not keep the others from being
    made: it is raised at the end, as a GscError.
    """
    _explain(run, _rows(run, decision), explainer(run, decision), on_progress)


def ask(run: Run, decision: Decision) -> Job | None:
    """Queue one job that makes what is missing.

    None when nothing is, or when it was asked for already: `asked` gives that job, which may have
    failed and is tried again with `queue.retry`.
    """
    acting.ensure(Action.START)
    if not missing(run, decision):
        return None
    with session():  # two browsers at once ask for one job
        if asked(run, decision) is not None:
            return None
        title = f"Short-circuited channels for the report of {runs.title(run.id)}"
        return orders.submit(_order(run, decision), title, run.id)


def asked(run: Run, decision: Decision) -> Job | None:
    """The job by which the explanations are waited for, or that failed to make them; else None."""
    order = _order(run, decision)
    states = (*queue.WAITING, State.FAILED)
    jobs = queue.jobs(kinds=(Kind.REPORT_IMAGES,), states=states, subject=run.id)
    return next((job for job in jobs if order.is_of(job)), None)


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `REPORT_IMAGES` job, which continues from what was made; see `tasks`."""
    run = Run.load(runs.run_folder(job.subject))
    order = ReportImagesOrder.of(job)
    _explain(run, order.rows, order.detector, on_progress)


def _first(run: Run, decision: Decision, wanted: Wanted) -> tuple[int, ...]:
    rows = gallery.in_order(run, decision.detector, wanted)
    return tuple(int(row) for row in rows[:IN_A_GROUP])


def _rows(run: Run, decision: Decision) -> list[int]:
    """Of the telling images those that lie where they were audited."""
    rows = dict.fromkeys(row for group in telling(run, decision) for row in group.rows)
    images = gallery.run_images(run, list(rows))
    return [image.row for image in images if image.path.is_file()]


def _unexplained(run: Run, rows: Sequence[int], detector: str) -> tuple[int, ...]:
    return tuple(row for row in rows if explanations.stored(run, row, detector) is None)


def _explain(
    run: Run, rows: Sequence[int], detector: str, on_progress: Callable[[Progress], None]
) -> None:
    wanted, failed = _unexplained(run, rows, detector), []
    for done, row in enumerate(wanted):
        on_progress(Progress(PHASE, done, len(wanted)))
        try:
            explanations.make(run, row, detector, lambda _: None)
        except GscError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    if wanted:
        on_progress(Progress(PHASE, len(wanted), len(wanted)))


def _order(run: Run, decision: Decision) -> ReportImagesOrder:
    return ReportImagesOrder(
        rows=tuple(_rows(run, decision)),
        detector=explainer(run, decision),
        version=run.version,
    )
