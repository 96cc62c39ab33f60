"""Who may come in, and as what: a login where the operator configured one, else a warning.

The login is Streamlit's OpenID Connect, set up by `[auth]` in `.streamlit/secrets.toml`. Who has an
account there is not yet invited: `[gsc]` beside it names who may come in and in which role; see
`TeamSettings`. `[gsc] share = false` forbids that reports are shared with people who have none.
"""

import functools
import math
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime.scriptrunner import get_script_run_ctx

from gsc_core.errors import GscError
from gsc_core.jobs.configuration import configuration
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import ALONE, OUTSIDE, Person, Role
from gsc_core.team.settings import TeamSettings
from gsc_core.workspace.operation.web_settings import listens_here_only
from pages.parts.shared.text import plain

_LOOK_S = 20.0  # seconds between two looks at whether a login still holds


def visitor() -> Person:
    """Who acts in the thread at hand: who is logged in there, or the server itself.

    Whoever is not let in is OUTSIDE, as is everyone while the settings cannot be read.
    """
    if get_script_run_ctx(suppress_warning=True) is None:
        return ALONE
    if _unreadable():
        return OUTSIDE
    if not asks_login():
        return ALONE
    try:
        return person_of(st.user, configuration().beside_login(_people()))
    except GscError:
        return OUTSIDE


def person_of(user: Mapping[str, Any], settings: TeamSettings) -> Person:
    """The person a login stands for; OUTSIDE for one that is not invited.

    An address that the provider has not verified is nobody's.
    """
    if not user.get("is_logged_in", False):  # absent counts as outside
        return OUTSIDE
    verified = str(user.get("email_verified")).casefold() != "false"  # some providers send text
    address = str(user.get("email") or "").strip().casefold() if verified else ""
    role = settings.role_of(address, _claims(user.get(settings.role_claim)))
    if role is Role.GUEST:
        return OUTSIDE
    return Person(address or str(user.get("sub") or "") or None, role, _until(user, settings))


def entered() -> bool:
    """Whether this visitor may see the app; when not, the page says what to do."""
    try:
        if _unreadable():  # it may have asked for a login
            raise GscError
        configuration().beside_login(_people())
    except GscError as error:
        st.error(
            "The operator's settings (secrets.toml) cannot be read, so nobody is let in: the log "
            f"of this app names the line to fix. {plain(str(error))}".strip()
        )
        return False
    if not asks_login():
        if not listens_here_only(st.get_option("server.address")):
            _warn()
        return True
    person = visitor()
    if not st.user.get("is_logged_in", False):
        st.title("GSC Audit", anchor=False)
        st.markdown("Please log in to see models, images and results.")
        st.button("Log in", key="login", type="primary", on_click=st.login)
        return False
    if person.role is Role.GUEST:
        email = str(st.user.get("email") or "")
        _log_once(Event.NOT_INVITED, person, email, str(st.user.get("iat")))
        st.title("GSC Audit", anchor=False)
        st.error(plain(f"{email or 'This account'} is not invited: ask the operator of this app."))
        st.button("Log out", key="logout", on_click=st.logout)
        return False
    if time.time() >= person.until:
        st.title("GSC Audit", anchor=False)
        st.warning(acting.EXPIRED)
        st.button("Log in", key="login", type="primary", on_click=st.login)
        return False
    try:
        _log_once(Event.LOGIN, person, "", str(st.user.get("iat")))
    except GscError as error:  # a full disk must not keep out who can make room
        st.error(plain(str(error)))
    with st.sidebar:
        st.caption(plain(f"{person.name or 'Logged in'}, {person.role}"))
        st.button("Log out", key="logout", on_click=_log_out)
    st.fragment(_still_in, run_every=_LOOK_S)(person)
    return True


def asks_login() -> bool:
    """Whether the operator set up a login."""
    return _has_secret("auth")


def sharing() -> bool:
    """Whether reports may be shared: yes, unless the operator's settings say anything else."""
    if _unreadable():
        return False
    return not _has_secret("gsc") or st.secrets["gsc"].get("share", True) is True


def _still_in(person: Person) -> None:
    """Draw the whole page again when the login has ended, or the person has another role."""
    now = visitor()
    if time.time() >= now.until or (now.name, now.role) != (person.name, person.role):
        st.rerun(scope="app")


def _until(user: Mapping[str, Any], settings: TeamSettings) -> float:
    """When a login ends: so many hours after the provider let the person in."""
    began = user.get("iat")
    if isinstance(began, int | float):
        return began + settings.login_hours * 3600
    ends = user.get("exp")
    return float(ends) if isinstance(ends, int | float) else math.inf


def _claims(value: object) -> tuple[str, ...]:
    """What a claim says, which is a word, or a list of them."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value) if isinstance(value, list | tuple) else ()


@functools.lru_cache(maxsize=10_000)
def _log_once(event: Event, person: Person, name: str, began: str) -> None:
    """Log a login; the same one opens many pages."""
    with acting.acting_as(person):
        acting.record(event, "login", name=name)


def _log_out() -> None:
    acting.record(Event.LOGOUT, "login")
    st.logout()


def _people() -> object | None:
    return st.secrets["gsc"] if _has_secret("gsc") else None


def _has_secret(name: str) -> bool:
    try:
        return name in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def _unreadable() -> bool:
    """Whether there are settings that cannot be read, which Streamlit tells as if none were."""
    try:
        len(st.secrets)  # reads them
    except StreamlitSecretNotFoundError as error:
        return error.error_id != "no-secrets-found"
    except (OSError, UnicodeError):
        return True
    return False


def _warn() -> None:
    st.warning(
        "This app can be reached from other machines and has no login: whoever reaches it can see "
        "and delete everything. Make it listen on 127.0.0.1, or set up a login (see the README).",
        icon=":material/lock_open:",
    )
