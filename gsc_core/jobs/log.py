"""The log of a job: in the run's folder, or in one for jobs that make no run."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gsc_core.jobs.database import Job, Lane
from gsc_core.jobs.home import home
from gsc_core.log import LOGGER, logged_to
from gsc_core.run.layout import LOG_FILE

_MOST_BYTES, _LAST_BYTES = 2**22, 2**16


def log_file(job: Job) -> Path:
    """`log.txt` in the run's folder, or for a job that makes no run `logs/<job>.txt`."""
    if job.lane is Lane.AUDIT:
        return home() / "runs" / job.subject / LOG_FILE
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
    """What is logged in `gsc_core` goes to the job's file too."""
    file = log_file(job)
    with suppress(OSError):  # without a log then; what else fails will say why
        file.parent.mkdir(parents=True, exist_ok=True)
    with logged_to(file) as log:
        log.begin()
        yield LOGGER
