"""Publishing a report under an address nobody can guess, and withdrawing it."""

from urllib.parse import urlencode, urlsplit

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.jobs.configuration import configuration
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs, shares
from gsc_core.workspace.operation.web_settings import listens_here_only
from gsc_core.workspace.shares import Share
from pages.parts.entry import access
from pages.parts.shared.once import again, once
from pages.parts.shared.text import plain

DAYS = {1: "1 day", 7: "7 days", 30: "30 days", 90: "90 days"}
_SHOWN = 5  # shares in view; the others are scrolled to


def share(run: Run, page: str) -> None:
    """Let the reader publish this page of the run, and revoke what is published of it.

    Nothing is drawn where the operator forbids sharing, and for who may do neither.
    """
    may_publish = acting.permits(Action.SHARE, runs.owner(run.id))
    may_revoke = any(map(shares.may_revoke, shares.shared(run.id)))
    if not access.sharing() or not (may_publish or may_revoke):
        return
    with st.expander("Share this report", key="share_report", icon=":material/share:"):
        try:
            if may_publish:
                _publish(run, page)
            _published(run)
        except GscError as error:
            st.error(plain(str(error)))


def _publish(run: Run, page: str) -> None:
    others = (
        "They see nothing else of this app."
        if access.asks_login()
        else "This app has no login, so whoever can reach it sees everything else too."
    )
    st.markdown(
        "Anyone with the address can read the report as it is now, **without an account**, until "
        f"it expires or you revoke it. {others}"
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        days = st.selectbox(
            "How long",
            [days for days in DAYS if days <= configuration().share_days],
            index=min(1, configuration().share_days // 7),
            format_func=DAYS.__getitem__,
            key="share_days",
            width=160,
        )
        pressed = st.button("Publish", key="share_publish", icon=":material/link:")
    if not pressed:
        again("share_publish")
        return
    once("share_publish", lambda: _remembered(run, page, days))


def _remembered(run: Run, page: str, days: int) -> str:
    """Publish; the address is kept for this visit alone, as nobody can find it again."""
    new = shares.publish(run.id, page, days=days)
    st.session_state["share_address"] = (new.share.id, _address(new.token))
    return new.share.id


def _address(token: str) -> str:
    """Where the report of a token is found, as the reader's browser reaches this app."""
    here = urlsplit(st.context.url or "/report")
    return here._replace(query=urlencode({"share": token}), fragment="").geturl()


def _published(run: Run) -> None:
    """The address of the new one, and all that are live with a button each."""
    live = shares.shared(run.id)
    new, link = st.session_state.get("share_address", ("", ""))
    if new in {each.id for each in live}:
        _tell(link)
    if not live:
        st.caption("Nothing of this run is shared.")
        return
    st.markdown(f"**Shared now: {len(live)}**")
    many = len(live) > _SHOWN
    with st.container(height=320 if many else "content", border=many):
        for each in live:
            _entry(each, is_new=each.id == new)
    # The list cannot say which address went to whom.
    if len(live) > 1 and st.button("Revoke all", key="share_revoke_all"):
        for each in filter(shares.may_revoke, live):
            shares.revoke(each.id)
        st.rerun()


def _tell(link: str) -> None:
    st.success("Published. Copy the address now: the app keeps no copy and cannot show it again.")
    st.code(link, language=None, wrap_lines=True)
    if listens_here_only(urlsplit(link).hostname or "localhost"):
        st.caption("It leads to this machine, so it opens on this machine only.")


def _entry(each: Share, *, is_new: bool) -> None:
    pictures = "with images" if each.with_images else "without images"
    told = f"{each.made:{shares.WHEN}}, {pictures}; works until {each.expires:{shares.WHEN}}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(("**New:** " if is_new else "") + plain(told), width="stretch")
        if shares.may_revoke(each) and st.button(
            "Revoke", key=f"share_revoke_{each.id[:12]}", icon=":material/link_off:"
        ):
            shares.revoke(each.id)
            st.rerun()
