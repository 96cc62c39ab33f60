"""The workspace's release policy: `policy.toml` in GSC_HOME, by which every run is judged."""

from pathlib import Path

from gsc_core.errors import GscError, SpecError
from gsc_core.files import written_aside
from gsc_core.jobs.home import home
from gsc_core.release.policy import Policy, read_policy
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action

POLICY_FILE = "policy.toml"


def current() -> Policy | None:
    """The policy that is kept, None when there is none. Raises GscError when it is damaged."""
    text = stored_text()
    if text is None:
        return None
    try:
        return read_policy(text)
    except SpecError as error:
        raise GscError(
            f"The release policy of this workspace ({POLICY_FILE}) is damaged. {error}"
        ) from error


def stored_text() -> bytes | None:
    """The text of the policy as somebody gave it, to read or to download."""
    try:
        return _path().read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GscError(
            f"The release policy of this workspace ({POLICY_FILE}) cannot be read "
            f"({error.strerror}): remove it and give it again."
        ) from error


def keep(text: str | bytes) -> Policy:
    """Keep a policy in place of an earlier one. Raises GscError, and then changes nothing."""
    acting.ensure(Action.OPERATE)
    policy = read_policy(text)
    with written_aside(_path()) as part:
        part.write_bytes(text.encode() if isinstance(text, str) else text)
    acting.record(Event.CHANGED, "policy", name=POLICY_FILE)
    return policy


def forget() -> None:
    """Take the policy away: runs are no longer judged. Raises NotAllowedError for who may not."""
    acting.ensure(Action.OPERATE)
    acting.record(Event.DELETED, "policy", name=POLICY_FILE)
    _path().unlink(missing_ok=True)


def version() -> int:
    """A number that changes with the policy, 0 for none: a part of the key of caches."""
    try:
        stat = _path().stat()
    except OSError:
        return 0
    return hash((stat.st_mtime_ns, stat.st_size, stat.st_ino))


def _path() -> Path:
    return home() / POLICY_FILE
