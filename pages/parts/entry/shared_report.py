"""A published report, for a visitor who has its address and nothing else."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.team import acting
from gsc_core.team.journal import Event
from pages.parts.entry import access
from pages.parts.shared.text import plain

GONE = "This report is no longer shared, or the address is incomplete: ask the person who sent it."
GONE_WIDTH = 640
_OPENED = "shared_opened"
_ANY_HEIGHT = 100_000  # as high as the window
# Streamlit's own bar and menu are of no use to a reader; the report takes what the window leaves.
_STYLE = """<style>
[data-testid="stHeader"], [data-testid="stSidebar"] {display: none}
[data-testid="stMainBlockContainer"] {padding: 0.75rem 1rem 0; height: 100dvh}
[data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] {height: 100%; gap: 0.25rem}
[data-testid="stIFrame"] {display: block}
</style>"""


def show(token: str) -> None:
    """The report behind a token, or the one sentence that says that there is none.

    Whoever comes here may not be logged in: nothing but this report is read or shown.
    """
    st.html(_STYLE)
    with st.spinner("Opening the report: a few seconds."):
        # Not at the top: a first visitor would wait for these libraries before seeing anything.
        from gsc_core.report import framed  # noqa: PLC0415
        from gsc_core.workspace import shares  # noqa: PLC0415

        found = shares.opened(token) if access.sharing() else None
    if found is None:
        st.title("GSC Audit", anchor=False)
        st.warning(GONE, width=GONE_WIDTH)
        return
    share = found.share
    if _OPENED not in st.session_state:  # once a visit
        try:
            acting.record(Event.OPENED, "share", share.id, share.title)
        except GscError as error:
            st.error(plain(str(error)))
            return
        st.session_state[_OPENED] = share.id
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            plain(
                f"As it was on {share.made:%d %b %Y}. Shared until {share.expires:{shares.WHEN}}."
            ),
            width="stretch",
        )
        st.download_button(
            "Download",
            found.page,
            file_name=f"gsc-audit-{share.run}.html",
            mime="text/html",
            key="shared_download",
            on_click="ignore",
            icon=":material/download:",
        )
    st.iframe(framed(found.page, _ANY_HEIGHT), height="stretch", alt="The report")
