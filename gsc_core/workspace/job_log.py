"""The log of a job: a line for each phase, and what happened where we did not foresee it."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gsc_core.workspace.database import Job, Lane
from gsc_core.workspace.home import home

LOGGER = logging.getLogger("gsc_core")
_MOST_BYTES, _LAST_BYTES = 2**22, 2**16


def log_file(job: Job) -> Path:
    """`log.txt` in the run's folder, or for a job that makes no run `logs/<job>.txt`."""
    if job.lane is Lane.AUDIT:
        return home() / "runs" / job.subject / "log.txt"
    return home() / "logs" / f"{job.id}.txt"


def keep_short(file: Path) -> None:
    """Cut a log that grew over 4 MB to its last 64 kB, also while a process appends to it."""
    with suppress(OSError):  # not there yet, most often
        if file.stat().st_size > _MOST_BYTES:
            with file.open("r+b") as log:
                log.seek(-_LAST_BYTES, os.SEEK_END)
                last = log.read(_LAST_BYTES)
                log.seek(0)
                log.write(last)
                log.truncate()


@contextmanager
def logged(job: Job) -> Iterator[logging.Logger]:
    """What is logged in `gsc_core` goes to the job's file too, with times in UTC."""
    file = log_file(job)
    with suppress(OSError):  # without a log then; what else fails will say why
        file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    formatter = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield LOGGER
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
