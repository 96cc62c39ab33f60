"""The worker of a lane: takes its jobs one after another, in a process of its own.

A crash, a hostile file or lack of memory ends this process and not the app; `keeper` starts the
next one. Nothing is lost by that: a job's state is in the index, its finished chunks on disk.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from logging import Logger
from types import FrameType
from typing import NamedTuple

from gsc_core.classifier.guard import of_memory
from gsc_core.errors import Cancelled, GscError
from gsc_core.errors.questions import Question
from gsc_core.files import disk_full, is_full
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, State
from gsc_core.jobs.home import home
from gsc_core.jobs.lane_lock import LaneLock, handed, taken
from gsc_core.jobs.limits import limit_worker
from gsc_core.jobs.log import log_file, logged
from gsc_core.jobs.progress import Reporter
from gsc_core.log import LOGGER
from gsc_core.progress import Progress

IDLE_AFTER = {Lane.AUDIT: 30.0, Lane.PREPARE: 30.0, Lane.EXPLAIN: 600.0}  # a model stays warm
POLL_S = 0.25  # seconds between two looks at an empty lane

Task = Callable[[Job, Callable[[Progress], None]], None]
"""Does a job. It reports its progress, which may stop it (Cancelled), and is called again
after its process was killed; a GscError is the sentence for the reader."""


def run_lane(
    lane: Lane,
    tasks: Mapping[Kind, Task],
    tidy: Callable[[], None],
    idle_after: float | None = None,
    *,
    lock: int | None = None,
    starter: int | None = None,
) -> None:
    """Do the jobs of a lane until there was none for `idle_after` seconds; SIGTERM ends it sooner.

    `tasks` do the jobs, `tidy` is called once before the first. Returns at once when another
    process works in the lane. `lock` is the descriptor of the lane's lock when the starter took it.
    When the process `starter` is no longer this one's parent, no other job is waited for.
    """
    with taken(lane) if lock is None else handed(lane, lock) as held:
        if held is None:
            return
        held.name(os.getpid())
        limit_worker()
        with _ending() as ending:
            _Worker(lane, held, ending, tasks, tidy).run(
                IDLE_AFTER[lane] if idle_after is None else idle_after, starter
            )


@contextmanager
def _ending() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT asked for the end, instead of dying of it."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _End(NamedTuple):
    """How a job ended; no state when it should be done later."""

    state: State | None
    error: str | None = None
    question: Question | None = None


class _Worker:
    def __init__(
        self,
        lane: Lane,
        lock: LaneLock,
        ending: Callable[[], bool],
        tasks: Mapping[Kind, Task],
        tidy: Callable[[], None],
    ) -> None:
        self.lane, self.lock, self.ending = lane, lock, ending
        self.tasks, self.tidy = tasks, tidy
        self.spent = False  # memory ran out: a new process starts with all of it

    def run(self, idle_after: float, starter: int | None) -> None:
        _keep_trying(lambda: queue.take_back(self.lane), self._stays)
        _keep_trying(self.tidy, self._stays)
        last = time.monotonic()
        while self._stays():
            job = self._claim()
            if job is not None:
                self._do(job)
                last = time.monotonic()
            elif time.monotonic() - last >= idle_after or _is_gone(starter):
                return
            else:
                time.sleep(POLL_S)

    def _claim(self) -> Job | None:
        try:
            return queue.claim(self.lane, os.getpid())
        except GscError as error:
            LOGGER.warning("no job can be taken: %s", error)
            return None

    def _stays(self) -> bool:
        return not self.ending() and not self.spent and self.lock.holds()

    def _do(self, job: Job) -> None:
        with logged(job) as logger:
            logger.info("%s %s begins, attempt %d", job.kind, job.id, job.attempts)
            end = self._perform(job, logger)
            state = end.state
            if state is None:
                logger.info("put back: the worker was told to end")
                _keep_trying(lambda: queue.put_back(job.id), self.lock.holds)
            else:
                logger.info("%s%s", state, f": {end.error}" if end.error else "")
                _keep_trying(
                    lambda: queue.end(job.id, state, end.error, end.question), self.lock.holds
                )
        if state is State.DONE and job.lane is not Lane.AUDIT:
            log_file(job).unlink(missing_ok=True)  # it says nothing of use, and clicks are many

    def _perform(self, job: Job, logger: Logger) -> _End:
        try:
            self.tasks[job.kind](job, Reporter(job, lambda: not self._stays()))
        except Cancelled as stopped:
            return _End(None if self.ending() else State.CANCELLED, str(stopped) or None)
        except GscError as error:
            return _End(State.FAILED, str(error), error.question)
        # A fault of ours or a library's ends the job, not the lane: whatever it is, it is logged.
        except Exception as error:
            logger.exception("unexpected error")
            self.spent = of_memory(error)
            return _End(State.FAILED, _sentence(error, job))
        return _End(State.DONE)


def _is_gone(starter: int | None) -> bool:
    """Whether the process that started this one has ended; another has taken its place then."""
    return starter is not None and os.getppid() != starter


def _sentence(error: Exception, job: Job) -> str:
    if of_memory(error):
        return "Memory ran out: try a smaller batch size, fewer images or another device."
    if isinstance(error, OSError) and is_full(error):
        return disk_full(error.filename or "the result")
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}): check the path, then retry."
    where = log_file(job).relative_to(home())
    return f"Something unexpected went wrong; the log says what ({where})."


def _keep_trying(write: Callable[[], None], worthwhile: Callable[[], bool]) -> None:
    """The end of a job must not be lost to a busy index or a full disk: it waits for better."""
    while worthwhile():
        try:
            return write()
        except GscError as error:
            LOGGER.warning("not kept yet: %s", error)
            time.sleep(1)
    return None
