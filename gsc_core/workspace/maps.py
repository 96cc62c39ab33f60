"""The finer map of a run's images, made by a worker and kept with the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gsc_core.extras import require
from gsc_core.jobs import orders, queue
from gsc_core.jobs.database import Job, Kind, State, session
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run.features import features
from gsc_core.run.image_map import ImageMap, sampled, stored_map, write_map
from gsc_core.run.stored import Run, version_of
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs

PERPLEXITY = 30.0
FEWEST = 8  # images, under which neighbours mean nothing
SEED = 0
PHASE = "arranging the images"


class MapOrder(JobOrder):
    """Of which `version` of the run."""

    kind: ClassVar[Kind] = Kind.MAP
    version: int = 0


def ask(run: Run) -> Job | None:
    """Queue the making of the finer map.

    None when it is there, or was asked for already: `asked` gives that job, which may have failed
    and is tried again with `queue.retry`. Raises GscError where the run has no features.
    """
    acting.ensure(Action.START)
    features(run, sampled(run)[:1])
    if stored_map(run) is not None:
        return None
    with session():  # two browsers at once ask for one job
        if asked(run) is not None:
            return None
        title = f"Map of the images of {runs.title(run.id)}"
        return orders.submit(MapOrder(version=version_of(run.path)), title, run.id)


def asked(run: Run) -> Job | None:
    """The job by which the map is waited for, or that failed to make it; else None."""
    order = MapOrder(version=version_of(run.path))
    states = (*queue.WAITING, State.FAILED)
    jobs = queue.jobs(kinds=(Kind.MAP,), states=states, subject=run.id)
    return next((job for job in jobs if order.is_of(job)), None)


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `MAP` job; see `tasks`."""
    run = Run.load(runs.run_folder(job.subject))
    on_progress(Progress(PHASE, 0, 1))
    write_map(run, arranged(run))
    on_progress(Progress(PHASE, 1, 1))


def arranged(run: Run) -> ImageMap:
    """The sample arranged by t-SNE (van der Maaten and Hinton 2008), from its principal directions.

    Raises GscError where the run has no features, and where the library is missing.
    """
    require("scikit-learn")
    from sklearn.manifold import TSNE  # noqa: PLC0415 - heavy

    rows = sampled(run)
    values = features(run, rows)
    if len(rows) < FEWEST or values.shape[1] < 2:
        return ImageMap(rows, np.pad(values, ((0, 0), (0, 2)))[:, :2])
    perplexity = min(PERPLEXITY, math.floor((len(rows) - 1) / 3))
    made = TSNE(init="pca", perplexity=perplexity, random_state=SEED).fit_transform(values)
    return ImageMap(rows, np.asarray(made, dtype=np.float32))
