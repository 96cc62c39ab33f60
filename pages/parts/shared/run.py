"""Which run a page is about: named in the address or chosen, carried from page to page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.stored import Run, version_of
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs
from pages.parts.shared import links
from pages.parts.shared.text import plain

VIEWS = {
    "results": "Results",
    "images": "Images",
    "thresholds": "Thresholds",
    "ablation": "Ablation",
    "report": "Report",
    "deploy": "Deploy",
}


def chosen_run(view: str) -> Run | None:
    """The run that the address, this session or the workspace names, with links to its views.

    Shows what to do and gives None when there is no run or it cannot be read.
    """
    row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    try:
        with row:
            run_id = _choose(view)
        if run_id is None:
            _nothing_yet()
            return None
        path = runs.run_folder(run_id)
        run = load(str(path), version_of(path))
    except GscError as error:
        st.error(plain(str(error)))
        st.page_link(links.to("runs"), label="All runs", icon=":material/list:")
        return None
    st.session_state["run"] = run_id
    with row:
        for address, title in VIEWS.items():
            if address != view:
                st.page_link(links.to(address), label=title, query_params={"run": run_id})
    return run


BY_VERSION: dict[str | type[Any], Callable[[Any], Any]] = {
    Run: lambda run: (str(run.path), run.version)
}
"""For caches of what is made of a run: a replaced run is read anew, no large value is hashed."""


# The path and version are the key, as above.
@st.cache_resource(max_entries=16, show_spinner=False)
def load(path: str, version: int) -> Run:
    """The run of a folder, read once for each version of its files."""
    return Run.load(Path(path))


def _choose(view: str) -> str | None:
    known = runs.list_runs()
    demo = runs.DEMO_RUN if runs.DEMO_RUN in known else None
    asked: str | None = (
        st.query_params.get("run") or st.session_state.get("run") or demo or next(iter(known), None)
    )
    if asked is not None and set(known) - {asked}:
        key = f"{view}_run"
        st.selectbox(
            "Run",
            known,
            index=known.index(asked) if asked in known else None,
            placeholder="Choose a run",
            format_func=runs.title,
            key=key,
            on_change=_follow,
            args=(key,),
            label_visibility="collapsed",
            width=280,
        )
    return asked


def _follow(key: str) -> None:
    """Put the chosen run in the address, so that it survives a reload and can be sent on."""
    st.query_params["run"] = st.session_state[key]


def _nothing_yet() -> None:
    st.header("No audit has run yet", anchor=False)
    if not acting.permits(Action.START):
        st.markdown("An auditor can start one.")
        return
    st.markdown("Start one, or look at the demo first: both take one click.")
    with st.container(horizontal=True):
        st.page_link(links.to("new-audit"), label="New audit", icon=":material/play_arrow:")
        st.page_link(links.to(""), label="Home, with the demo", icon=":material/home:")
