"""Removes stale files and records that nothing else removes; a worker calls it at its start."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import delete
from sqlmodel import col

from gsc_core.jobs.database import ENDED, Job, Lane, session
from gsc_core.jobs.home import home
from gsc_core.workspace import shares, trash
from gsc_core.workspace.trash import GONE

_PART = ".part-"  # how a folder begins that is not whole yet; see `gsc_core.images.aside`
_DAY = 86_400.0
_LOGS = 30 * _DAY


def tidy() -> None:
    """Remove what crashes left a day ago, logs of a month ago, expired shares, yesterday's clicks.

    And what has been in the trash for long enough.

    A viewed image is one job, and its result lies in the run's folder: the record of the job says
    nothing more. Raises GscError when the index cannot be written.
    """
    now = time.time()
    for folder in ("imagesets", "models", "runs"):
        for begins in (GONE, _PART):
            for left in (home() / folder).glob(f"{begins}*"):
                if _older(left, now - _DAY):
                    shutil.rmtree(left, ignore_errors=True)
    files = [(file, now - _DAY) for file in (home() / "shares").glob("*.part")]
    files += [(log, now - _LOGS) for log in (home() / "logs").glob("*.txt")]
    for file, since in files:
        if _older(file, since):
            with suppress(OSError):
                file.unlink()
    shares.prune()
    trash.empty()
    with session() as db:
        old = col(Job.lane) == Lane.EXPLAIN, col(Job.state).in_(ENDED)
        db.exec(delete(Job).where(*old, col(Job.finished) < now - _DAY))


def _older(path: Path, than: float) -> bool:
    try:
        return path.lstat().st_mtime < than
    except OSError:  # another worker has just removed it
        return False
