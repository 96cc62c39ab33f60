"""Workers as real processes, and jobs that do real things."""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
from browser import PATIENCE

from gsc_core.errors import GscError
from gsc_core.jobs import lane_lock, limits, queue
from gsc_core.jobs.database import Job, Kind, Lane, session
from gsc_core.jobs.home import home
from gsc_core.jobs.worker import run_lane
from gsc_core.progress import Progress
from gsc_core.workspace.cleanup import tidy

FORK = multiprocessing.get_context("fork")  # torch is imported already
Step = Callable[[Progress], None]


def submit(do: str, subject: str = "s", kind: Kind = Kind.SET) -> Job:
    return queue.submit(kind, do, subject, {"do": do})


def now(job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


def started(lane: Lane = Lane.PREPARE, idle: float = 0) -> multiprocessing.Process:
    """A worker process whose jobs do what their payload says."""
    tasks = dict.fromkeys(Kind, perform)
    process = FORK.Process(target=run_lane, args=(lane, tasks, tidy, idle))
    process.start()
    return process


def ended(process: multiprocessing.Process) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def perform(job: Job, on_progress: Step) -> None:
    globals()[job.payload["do"]](job, on_progress)


def write_pid(job: Job, on_progress: Step) -> None:
    with (home() / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.1)


def go_on(job: Job, on_progress: Step) -> None:
    for done in range(10**9):
        on_progress(Progress("going on", done % 1000, 1000))
        time.sleep(0.01)


def fail(job: Job, on_progress: Step) -> None:
    raise GscError("The file holds no image: choose another.")


def stumble(job: Job, on_progress: Step) -> None:
    raise ValueError("an inner matter")


def fill_the_disk(job: Job, on_progress: Step) -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def miss_a_file(job: Job, on_progress: Step) -> None:
    Path("/nowhere/at/all").read_bytes()


def ask_too_much(job: Job, on_progress: Step) -> None:
    bytearray(2**60)


def fill_memory(job: Job, on_progress: Step) -> None:
    """Nothing is written to it, so that it costs nothing: it is the limit that stops it."""
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= limits.memory()
    hoard = []
    while True:
        hoard.append(torch.empty(2**30, dtype=torch.uint8))
        assert len(hoard) * 2**30 < 2 * limits.memory(), "no limit"


def die(job: Job, on_progress: Step) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lane_is_free(lane: Lane) -> bool:
    with lane_lock.taken(lane) as lock:
        return lock is not None


def change_job(job: Job, **values: float) -> None:
    with session() as db:
        found = db.get(Job, job.id)
        found.sqlmodel_update(values)
        db.add(found)
