"""Reports that are published under an address nobody can guess.

A share is the report as it was when it was published, in one file: a line of JSON that
describes it, then the page. The file is named by the SHA-256 of the token in the address, and the
token is kept nowhere: whoever reads the disk, or a copy of it, cannot open what is shared.
"""

import hashlib
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gsc_core.errors import GscError
from gsc_core.files import written_aside
from gsc_core.jobs.configuration import configuration
from gsc_core.jobs.home import home
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import runs

WHEN = "%d %b %Y, %H:%M UTC"  # how its times are written
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
_ID = re.compile(r"[0-9a-f]{64}")
_SUFFIX = ".share"
_FIRST_LINE = 64_000  # bytes; a record has some hundred


class Share(BaseModel):
    """What is known of a published report; `id` opens nothing.

    `title` is what the run was called then, `with_images` whether the page shows images, `owner`
    who published it.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    run: str = Field(pattern=f"^{runs.RUN_ID.pattern}$")
    title: str
    made: AwareDatetime
    expires: AwareDatetime
    with_images: bool
    owner: str | None = None


@dataclass(frozen=True)
class Published:
    """A new share and the token for its address, given only this once."""

    token: str
    share: Share


@dataclass(frozen=True)
class Shared:
    """A share that was opened, with its page."""

    share: Share
    page: str


def publish(run_id: str, page: str, *, days: int, now: datetime | None = None) -> Published:
    """Keep a report's HTML for those who get the address, for 1 to `share_days` days.

    Raises GscError for another time, a run that is not there, a disk that refuses, and for who may
    not share this run.
    """
    longest = configuration().share_days
    if not 1 <= days <= longest:
        raise GscError(
            f"A report can be shared for 1 to {longest} days: choose a time in that range."
        )
    if not _there(run_id):
        raise GscError("This run is gone, so its report cannot be shared: choose another run.")
    person = acting.ensure(Action.SHARE, runs.owner(run_id))
    prune(now)
    made = (now or datetime.now(UTC)).replace(microsecond=0)
    token = secrets.token_urlsafe(32)
    share = Share(
        id=_digest(token),
        run=run_id,
        title=runs.title(run_id),
        made=made,
        expires=made + timedelta(days=days),
        with_images="<img" in page,  # in a name it would be escaped
        owner=person.name,
    )
    with written_aside(_path(share.id)) as part:
        part.touch(mode=0o600)  # for the app's own user alone
        part.write_bytes(f"{share.model_dump_json()}\n{page}".encode("utf-8", "replace"))
    acting.record(Event.SHARED, "share", share.id, share.title, f"run {run_id}, {days} days")
    return Published(token, share)


def opened(token: str, now: datetime | None = None) -> Shared | None:
    """The report behind a token; None alike for one that never was, has expired or was revoked.

    The token is looked up by its digest, so the time this takes tells nothing about it.
    """
    if not _TOKEN.fullmatch(token):
        return None
    share_id = _digest(token)
    try:
        first, _, page = _path(share_id).read_bytes().partition(b"\n")
        share = Share.model_validate_json(first)
    except (OSError, ValidationError):
        return None
    if share.id != share_id or not _live(share, now):
        return None
    return Shared(share, page.decode("utf-8", "replace"))


def shared(run_id: str, now: datetime | None = None) -> tuple[Share, ...]:
    """What is shared of a run at this time, the newest first."""
    live = [share for share in _all() if share.run == run_id and _live(share, now)]
    return tuple(sorted(live, key=lambda share: (share.made, share.id), reverse=True))


def revoke(share_id: str) -> None:
    """Let an address lead nowhere from now on; one that already does stays so.

    Raises GscError when the file cannot be removed, and for who neither published it nor started
    the run.
    """
    if not _ID.fullmatch(share_id):
        raise GscError("There is no such shared report: choose one from the list.")
    share = _record(_path(share_id))
    if share is not None:
        acting.ensure(Action.SHARE, _responsible(share))
        acting.record(Event.REVOKED, "share", share.id, share.title)
    _unlink(share_id)


def may_revoke(share: Share) -> bool:
    """Whether who acts may revoke it."""
    return acting.permits(Action.SHARE, _responsible(share))


def withdraw_all(run_id: str) -> None:
    """Let no address lead to a run that is being deleted. Raises GscError as `revoke` does."""
    for share in _all():
        if share.run == run_id:
            acting.record(Event.REVOKED, "share", share.id, share.title, "its run was deleted")
            _unlink(share.id)


def _responsible(share: Share) -> str | None:
    """Whose share it is to who acts: theirs if they published it, else the run's."""
    return share.owner if acting.current().owns(share.owner) else runs.owner(share.run)


def _unlink(share_id: str) -> None:
    try:
        _path(share_id).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise GscError(
            f"The shared report cannot be removed ({reason}), so its address still works: check "
            f"the folder {_folder()}."
        ) from error


def prune(now: datetime | None = None) -> None:
    """Remove, as far as the disk allows, what has expired or whose run is gone."""
    for share in _all():
        if not _live(share, now):
            with suppress(OSError):  # nobody can open it all the same
                _path(share.id).unlink()


def _live(share: Share, now: datetime | None) -> bool:
    return (now or datetime.now(UTC)) < share.expires and _there(share.run)


def _there(run_id: str) -> bool:
    return runs.run_folder(run_id).is_dir()


def _all() -> list[Share]:
    shares = (_record(path) for path in _folder().glob(f"*{_SUFFIX}") if _ID.fullmatch(path.stem))
    return [share for share in shares if share is not None]


def _record(path: Path) -> Share | None:
    """The first line of a share; None for one that is just revoked, or damaged."""
    try:
        with path.open("rb") as file:
            share = Share.model_validate_json(file.readline(_FIRST_LINE))
    except (OSError, ValidationError):
        return None
    return share if share.id == path.stem else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _path(share_id: str) -> Path:
    return _folder() / f"{share_id}{_SUFFIX}"


def _folder() -> Path:
    return home() / "shares"
