"""Who may come in: a login where the operator configured one, else a warning where it is missing.

The login is Streamlit's OpenID Connect, set up by `[auth]` in `.streamlit/secrets.toml`. Who has an
account there is not yet invited: `[gsc] allowed = ["ann@example.org", "@example.org"]` names people
or whole domains; without it everyone with an account comes in.
"""

import ipaddress
from collections.abc import Sequence

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from pages.parts.text import plain


def entered() -> bool:
    """Whether this visitor may see the app; when not, the page says what to do."""
    if not _has_secret("auth"):
        if not listens_here_only(st.get_option("server.address")):
            _warn()
        return True
    if not st.user.get("is_logged_in", False):  # absent counts as outside
        st.header("GSC Audit", anchor=False)
        st.markdown("Please log in to see models, pictures and results.")
        st.button("Log in", key="login", type="primary", on_click=st.login)
        return False
    email = str(st.user.get("email") or "")
    verified = st.user.get("email_verified") is not False
    allowed = st.secrets["gsc"].get("allowed", []) if _has_secret("gsc") else None
    if allowed is not None and not (verified and invited(email, allowed)):
        st.error(plain(f"{email or 'This account'} is not invited: ask the operator of this app."))
        st.button("Log out", key="logout", on_click=st.logout)
        return False
    with st.sidebar:
        st.caption(plain(email))
        st.button("Log out", key="logout", on_click=st.logout)
    return True


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


def _warn() -> None:
    st.warning(
        "This app can be reached from other machines and has no login: whoever reaches it sees and "
        "deletes everything. Let it listen on 127.0.0.1, or set up a login (see the README).",
        icon=":material/lock_open:",
    )
