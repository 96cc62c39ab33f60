"""How the workspace stands now: index, disk, workers, queue.

It is looked at often and by anybody, so it waits for no lock, and makes nothing.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gsc_core.evaluation.counts import number_of
from gsc_core.jobs.configuration import MB, configuration
from gsc_core.jobs.database import DATABASE_FILE, Lane, State
from gsc_core.jobs.home import home
from gsc_core.jobs.lane_lock import is_held
from gsc_core.workspace.operation.check import Check, Level

WITHOUT_WORKER_S = 60.0  # after which work that nobody takes is not a matter of starting
_READ_TIMEOUT_S = 1.0
_JOBS = "SELECT lane, state, count(*), min(created) FROM job WHERE state IN (?, ?) GROUP BY 1, 2"


@dataclass(frozen=True)
class LaneState:
    """A lane: jobs in it, seconds since the oldest that waits was asked for, and its worker."""

    lane: Lane
    queued: int
    running: int
    waiting_s: float
    has_worker: bool


@dataclass(frozen=True)
class Health:
    """What was seen; `index_error` is why the index could not be read."""

    lanes: tuple[LaneState, ...]
    free_bytes: int
    index_error: str | None = None

    def checks(self) -> list[Check]:
        """Index, disk, workers and queue, each with what to do."""
        return [self._index(), self._disk(), self._workers()]

    def _index(self) -> Check:
        if self.index_error is not None:
            advice = "see docs/security.md, Loss"
            return Check(
                "index", Level.BAD, f"The index cannot be read ({self.index_error}): {advice}."
            )
        jobs = sum(lane.queued + lane.running for lane in self.lanes)
        return Check(
            "index", Level.GOOD, f"{number_of(jobs, 'job is', 'jobs are')} waiting or running."
        )

    def _disk(self) -> Check:
        return disk_check(self.free_bytes)

    def _workers(self) -> Check:
        stalled = [
            lane.lane.value
            for lane in self.lanes
            if lane.queued and not lane.has_worker and lane.waiting_s > WITHOUT_WORKER_S
        ]
        if stalled:
            return Check(
                "workers",
                Level.BAD,
                f"Jobs are waiting and no worker takes them ({', '.join(stalled)}): start gsc "
                "worker, or look into the app's log.",
            )
        busy = sum(lane.has_worker for lane in self.lanes)
        return Check("workers", Level.GOOD, f"{busy} of {len(self.lanes)} lanes have a worker.")


def disk_check(free_bytes: int) -> Check:
    """Whether there is room for what comes next."""
    reserve = MB * configuration().disk_reserve_mb
    said = f"{free_bytes / 1e9:,.1f} GB are free for {home()}"
    if free_bytes < reserve:
        return Check("disk", Level.BAD, f"{said}: free some space, or move GSC_HOME.")
    if free_bytes < 10 * reserve:
        return Check("disk", Level.WARN, f"{said}: that is little for uploads and audits.")
    return Check("disk", Level.GOOD, f"{said}.")


def health() -> Health:
    """Look at the workspace. Raises nothing for one that is damaged, or not there yet."""
    lanes, error = _lanes()
    return Health(lanes, free_bytes(), error)


def free_bytes() -> int:
    """What the disk of GSC_HOME, or of where it will be, still holds."""
    folder = next(path for path in (home(), *home().parents) if path.exists())
    return shutil.disk_usage(folder).free


def _lanes() -> tuple[tuple[LaneState, ...], str | None]:
    counted: dict[tuple[str, str], tuple[int, float]] = {}
    error = None
    file, now = home() / DATABASE_FILE, time.time()
    if file.exists():
        try:
            counted = _counted(file)
        except sqlite3.Error as failure:
            error = str(failure)
    lanes = []
    for lane in Lane:
        queued, oldest = counted.get((lane.name, State.QUEUED.name), (0, now))
        running, _ = counted.get((lane.name, State.RUNNING.name), (0, now))
        lanes.append(LaneState(lane, queued, running, max(0.0, now - oldest), is_held(lane)))
    return tuple(lanes), error


def _counted(file: Path) -> dict[tuple[str, str], tuple[int, float]]:
    """Jobs of a lane and state, and when the oldest was asked for."""
    address = f"{file.as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_READ_TIMEOUT_S)) as index:
        if not index.execute("PRAGMA user_version").fetchone()[0]:
            return {}  # a process is just making it
        rows = index.execute(_JOBS, (State.QUEUED.name, State.RUNNING.name))
        return {(lane, state): (count, oldest) for lane, state, count, oldest in rows}
