"""What was deleted, for as long as it can be restored: `trash_days` from then on.

The records go from their tables into one row here, so nothing else meets them. Files stay where
they are, except a run's folder, which is renamed: runs are found by their folders.
"""

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from sqlmodel import Session, SQLModel, col, select

from gsc_core.errors import GscError
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import Deleted, Job, StoredModel, StoredSet, new_id, session
from gsc_core.jobs.home import home
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action

GONE = ".deleted-"
"""How the name of a folder begins that is being removed."""

IN_TRASH = ".trash-"
"""How the name of a deleted run's folder begins."""

MODEL, SET, RUN = "model", "set", "run"
_TABLES: dict[str, type[SQLModel]] = {
    table.__name__: table for table in (StoredModel, StoredSet, Job)
}
_RUN_IN_TRASH = re.compile(rf"{re.escape(IN_TRASH)}([0-9a-f]{{12}})-(.+)")
_DAY = 86_400.0


def keep_days() -> float:
    """For how many days what is deleted can be restored."""
    return configuration().trash_days


def put(db: Session, deleted: Deleted, records: Sequence[SQLModel], folder: Path | None) -> None:
    """Move records from the index to the trash, in the caller's session.

    `folder` holds their files, and is removed with the entry unless another record is of it too.
    """
    rows = [[type(record).__name__, record.model_dump(mode="json")] for record in records]
    files = None if folder is None else str(folder.relative_to(home()))
    deleted.by = acting.current().name
    deleted.rows = {"records": rows, "folder": files}
    for record in records:
        db.delete(record)
    db.add(deleted)
    acting.record(Event.DELETED, deleted.what, deleted.subject, deleted.name)


def renamed_run(entry_id: str, run_id: str) -> Path:
    """Where the folder of a run is while its entry is in the trash."""
    return home() / "runs" / f"{IN_TRASH}{entry_id}-{run_id}"


def entries() -> list[Deleted]:
    """What can be restored by who acts, the newest first."""
    with session() as db:
        newest = db.exec(select(Deleted).order_by(col(Deleted.deleted).desc())).all()
    return [entry for entry in newest if acting.permits(Action.DELETE, entry.owner)]


def restore(entry_id: str) -> Deleted:
    """Put an entry back where it was.

    Raises GscError when it is gone, when another stands in its place, and for who may not.
    """
    with session() as db:
        entry = _entry(db, entry_id)
        for table, row in entry.rows["records"]:
            record = _TABLES[table].model_validate(row)
            if db.get(type(record), row["id"]) is not None or _same_name(db, record):
                raise GscError(
                    f"Another {entry.what} has taken the place of {entry.name}: rename or delete "
                    "that one, then restore this one."
                )
            db.add(record)
        if entry.what == RUN:
            _bring_back(renamed_run(entry.id, entry.subject), entry)
        db.delete(entry)
        acting.record(Event.RESTORED, entry.what, entry.subject, entry.name)
    return entry


def remove(entry_id: str) -> None:
    """Remove an entry and its files for good. Raises GscError as `restore` does."""
    with session() as db:
        entry = _entry(db, entry_id)
        gone = _remove(db, entry)
        acting.record(Event.REMOVED, entry.what, entry.subject, entry.name)
    _clear(gone)


def empty(now: float | None = None) -> None:
    """Remove for good what has been here for long enough, and mend what a crash left."""
    oldest = (time.time() if now is None else now) - keep_days() * _DAY
    gone: list[Path] = []
    with session() as db:
        for entry in db.exec(select(Deleted).where(col(Deleted.deleted) <= oldest)).all():
            gone += _remove(db, entry)
            acting.record(
                Event.REMOVED, entry.what, entry.subject, entry.name, "its time had run out"
            )
        _mend(db)
    _clear(gone)


def _entry(db: Session, entry_id: str) -> Deleted:
    entry = db.get(Deleted, entry_id)
    if entry is None:
        raise GscError("This is no longer in the trash: choose from the list.")
    acting.ensure(Action.DELETE, entry.owner)
    return entry


def _same_name(db: Session, record: SQLModel) -> bool:
    if not isinstance(record, StoredSet):
        return False
    same = select(StoredSet.id).where(StoredSet.name == record.name, StoredSet.role == record.role)
    return db.exec(same).first() is not None


def _bring_back(folder: Path, entry: Deleted) -> None:
    place = folder.with_name(entry.subject)
    if place.exists():
        raise GscError(
            f"Another run has taken the place of {entry.name}: delete that one, then restore "
            "this one."
        )
    if not folder.exists():
        if entry.rows["folder"] is None:
            return  # it had not begun
        raise GscError(f"The files of {entry.name} are gone: it cannot be restored.")
    try:
        folder.rename(place)
    except OSError as error:
        reason = error.strerror or error
        raise GscError(f"The run cannot be restored ({reason}): check its folder.") from error


def _remove(db: Session, entry: Deleted) -> list[Path]:
    """Forget an entry; its folder is renamed first, so that nobody meets it half removed."""
    db.delete(entry)
    db.flush()
    name = entry.rows["folder"]
    if name is None or _is_used(db, name):
        return []
    folder = home() / name
    gone = folder.with_name(f"{GONE}{new_id()}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = error.strerror or error
        raise GscError(
            f"{entry.name} cannot be deleted ({reason}): check the folder {folder}."
        ) from error
    return [gone]


def _is_used(db: Session, folder: str) -> bool:
    """Whether another record, here or in the trash, is of the same model file."""
    parent = str(home() / folder)
    live = db.exec(select(StoredModel)).all()
    others = db.exec(select(Deleted)).all()
    return any(
        str(Path(model.spec.get("checkpoint") or "/").parent) == parent for model in live
    ) or any(other.rows.get("folder") == folder for other in others)


def _mend(db: Session) -> None:
    """Give a run its name again whose deletion was cut off between the folder and the index."""
    for folder in (home() / "runs").glob(f"{IN_TRASH}*"):
        match = _RUN_IN_TRASH.fullmatch(folder.name)
        if match and db.get(Deleted, match[1]) is None and not folder.with_name(match[2]).exists():
            folder.rename(folder.with_name(match[2]))


def _clear(folders: Sequence[Path]) -> None:
    """Remove what was renamed for it, and what an earlier crash left beside it."""
    for place in {folder.parent for folder in folders}:
        for gone in place.glob(f"{GONE}*"):
            shutil.rmtree(gone, ignore_errors=True)
