"""How much each person's models, sets and runs take, and whether there is room for more."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sqlmodel import select

from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.database import Deleted, Job, Kind, StoredModel, StoredSet, session
from gsc_core.jobs.home import home
from gsc_core.team import acting
from gsc_core.team.settings import QuotaError


def by_owner() -> Counter[str | None]:
    """Bytes that each owner's models, sets and runs take, the trash included; None is nobody's."""
    taken: Counter[str | None] = Counter()
    for folder, owner in _folders().items():
        taken[owner] += _bytes_in(home() / folder)
    return taken


def ensure_room(owner: str | None, more: int = 0) -> None:
    """Raises QuotaError unless an owner, and all, may take so many bytes more."""
    settings = configuration()
    own = settings.user_disk if owner is not None else None
    if own is None and settings.total_disk is None:
        return
    taken = by_owner()
    if own is not None and taken[owner] + more > own:
        raise QuotaError(
            f"Your models, image sets and runs take {_mb(taken[owner])} of your {_mb(own)}"
            f"{_wanted(more)}: delete some, then also from the Trash, or ask an operator."
        )
    if settings.total_disk is not None and taken.total() + more > settings.total_disk:
        raise QuotaError(
            f"All models, image sets and runs take {_mb(taken.total())} of "
            f"{_mb(settings.total_disk)}{_wanted(more)}: delete some, then also from the Trash, or "
            "ask an operator."
        )


def sentence() -> str:
    """What who acts has, and may have."""
    owner, settings = acting.current().name, configuration()
    taken = by_owner()
    if owner is None:
        return (
            f"All models, image sets and runs take {_mb(taken.total())}{_of(settings.total_disk)}."
        )
    return f"What you added takes {_mb(taken[owner])}{_of(settings.user_disk)}."


def _folders() -> dict[str, str | None]:
    """The folders of all records with their owners; a model file that two added is the first's."""
    folders: dict[str, str | None] = {}
    with session() as db:
        for model in db.exec(select(StoredModel)):
            folder = Path(model.spec.get("checkpoint") or "/").parent
            if folder.parent == home() / "models":
                folders.setdefault(f"models/{folder.name}", model.owner)
        for stored in db.exec(select(StoredSet)):
            folders[f"imagesets/{stored.id}"] = stored.owner
        for entry in db.exec(select(Deleted)):
            if entry.rows["folder"] is not None:
                folders.setdefault(entry.rows["folder"], entry.owner)
        audits = select(Job.subject, Job.owner).where(Job.lane == Kind.AUDIT.lane)
        owners = dict(db.exec(audits.order_by("created")).all())
    for run in (home() / "runs").glob("[!.]*"):
        folders[f"runs/{run.name}"] = owners.get(run.name)
    return folders


def _bytes_in(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(Path(entry.path))
                else:
                    yield entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # removed meanwhile
        return


def _mb(count: float) -> str:
    return f"{count / 10**6:,.1f} MB"


def _of(limit: float | None) -> str:
    return "" if limit is None else f" of {_mb(limit)}"


def _wanted(more: int) -> str:
    return f", and this needs {_mb(more)} more" if more else ""
