"""Who may come in: a login where the operator configured one, else a warning where it is missing.

The login is Streamlit's OpenID Connect, set up by `[auth]` in `.streamlit/secrets.toml`. Who has an
account there is not yet invited: `[gsc] allowed = ["ann@example.org", "@example.org"]` names people
or whole domains; without it everyone with an account comes in. `[gsc] share = false` forbids that
reports are shared with people who have none.
"""

import ipaddress
from collections.abc import Sequence

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from pages.parts.shared.text import plain


def entered() -> bool:
    """Whether this visitor may see the app; when not, the page says what to do."""
    if _unreadable():  # it may have asked for a login
        st.error(
            "The operator's settings (secrets.toml) cannot be read, so nobody is let in: the log "
            "of this app names the line to fix."
        )
        return False
    if not asks_login():
        if not listens_here_only(st.get_option("server.address")):
            _warn()
        return True
    if not st.user.get("is_logged_in", False):  # absent counts as outside
        st.header("GSC Audit", anchor=False)
        st.markdown("Please log in to see models, images and results.")
        st.button("Log in", key="login", type="primary", on_click=st.login)
        return False
    email = str(st.user.get("email") or "")
    verified = str(st.user.get("email_verified")).casefold() != "false"  # some providers send text
    allowed = st.secrets["gsc"].get("allowed", []) if _has_secret("gsc") else None
    if allowed is not None and not (verified and invited(email, allowed)):
        st.error(plain(f"{email or 'This account'} is not invited: ask the operator of this app."))
        st.button("Log out", key="logout", on_click=st.logout)
        return False
    with st.sidebar:
        st.caption(plain(email))
        st.button("Log out", key="logout", on_click=st.logout)
    return True


def login_name() -> str | None:
    """Who is logged in, by their address; None where there is no login."""
    if not (asks_login() and st.user.get("is_logged_in", False)):
        return None
    return str(st.user.get("email") or st.user.get("name") or "") or None


def asks_login() -> bool:
    """Whether the operator set up a login."""
    return _has_secret("auth")


def sharing() -> bool:
    """Whether reports may be shared: yes, unless the operator's settings say anything else."""
    if _unreadable():
        return False
    return not _has_secret("gsc") or st.secrets["gsc"].get("share", True) is True


def invited(email: str, allowed: Sequence[str]) -> bool:
    """Whether an address, or its domain as `@example.org`, is on the list."""
    address = email.strip().casefold()
    domain = "@" + address.rpartition("@")[2]
    return "@" in address and not {address, domain}.isdisjoint(
        e.strip().casefold() for e in allowed
    )


def listens_here_only(address: str | None) -> bool:
    """Whether a server at this address can be reached from this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "0.0.0.0").is_loopback  # noqa: S104 - none is all
    except ValueError:
        return False


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
