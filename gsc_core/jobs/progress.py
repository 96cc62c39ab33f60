"""From the engine's steps to what a person sees of a job: phase, images, images a second."""

import time
from collections import deque
from collections.abc import Callable

from gsc_core.errors import Cancelled, GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.jobs import queue
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import Job, Lane
from gsc_core.jobs.queue import Status
from gsc_core.log import LOGGER, log_phase
from gsc_core.progress import Progress

_EVERY = 0.5  # seconds between two writes of one phase; one costs some 10 ms
_WINDOW = 10.0  # seconds over which the rate is taken
_PASSING = ("calibrating", "scoring ")  # phases of an audit in which images pass the network
_SETTLED = 1.0  # seconds of a phase before its rate is believed


def time_limit(job: Job) -> float | None:
    """How many seconds a job may take by the operator's settings; only audits have a limit."""
    return configuration().audit_seconds if job.lane is Lane.AUDIT else None


def out_of_time(limit: float) -> str:
    """What is said of a job that took longer than so many seconds."""
    return (
        f"It took longer than {number_of(limit / 3600, 'hour')}, the limit of this server, so it "
        "was cancelled: resume it from its finished work, or choose fewer images or detectors."
    )


class Reporter:
    """Called with each Progress of a job: keeps it in the index, and raises Cancelled when the job
    is cancelled, its time is over or the worker should end (`ending`)."""

    def __init__(
        self, job: Job, ending: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._job, self._ending, self._clock = job, ending, clock
        self._phase = ""
        self._images: dict[str, int] = {}  # done in each phase that counts images
        self._recent: deque[tuple[float, int]] = deque()  # when, images done in this phase
        self._rate: float | None = None
        self._written = float("-inf")
        self._began, self._limit = clock(), time_limit(job)

    def __call__(self, progress: Progress) -> None:
        """Take note of how far the job is."""
        if self._ending():
            raise Cancelled
        now = self._clock()
        if self._limit is not None and now - self._began > self._limit:
            raise Cancelled(out_of_time(self._limit))
        new = progress.phase != self._phase
        if new:
            self._phase = progress.phase
            self._recent.clear()
            log_phase(progress.phase, progress.done, progress.total)
        if self._counts(progress):
            self._count(progress, now)
        if new or now - self._written >= _EVERY or progress.done >= progress.total > 1:
            self._write(progress)
            self._written = self._clock()

    def _counts(self, progress: Progress) -> bool:
        """Where the whole job is counted in images, these are the ones that pass the network."""
        total = self._job.images_total > 0
        return progress.total > 1 and (not total or progress.phase.startswith(_PASSING))

    def _count(self, progress: Progress, now: float) -> None:
        """The rate counts from the phase's first report: what lay there already cost no time."""
        self._images[progress.phase] = progress.done
        self._recent.append((now, progress.done))
        while now - self._recent[0][0] > _WINDOW and len(self._recent) > 2:
            self._recent.popleft()
        (since, before), (until, after) = self._recent[0], self._recent[-1]
        if until - since >= _SETTLED and after > before:
            self._rate = (after - before) / (until - since)

    def _write(self, progress: Progress) -> None:
        status = Status(
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
            images_done=sum(self._images.values()),
            rate=self._rate,
        )
        try:
            stop = queue.report(self._job.id, status)
        except GscError as error:  # a busy index or full disk: the work itself may yet succeed
            LOGGER.warning("progress is not shown: %s", error)
            return
        if stop:
            raise Cancelled
