"""Which run a page is about: named in the address or chosen, carried from page to page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind
from gsc_core.run.stored import Run, version_of
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import runs
from gsc_core.workspace.history import history
from pages.parts.shared import links
from pages.parts.shared.run_entry import card
from pages.parts.shared.text import plain

VIEWS = {
    "results": "Results",
    "images": "Images",
    "thresholds": "Thresholds",
    "ablation": "Ablation",
    "report": "Report",
    "deploy": "Deploy",
}
ABOUT = {
    "results": "how many unfamiliar images the model would accept, and how sure that is",
    "images": "every image of the audit, the worst mistakes first",
    "thresholds": "what a lower or higher threshold would accept and flag",
    "ablation": "what each part of the method contributes",
    "report": "the audit as one page for a colleague, to download or share",
    "deploy": "how to take the detector along as one file",
}


def chosen_run(view: str, *, titled: bool = False) -> Run | None:
    """The run that the address, this session or the workspace names, with links to its views.

    `titled` puts the page's title beside them, for a page that needs its height for more. Shows
    what to do and gives None when there is no run or it cannot be read.
    """
    row = st.container(horizontal=True, vertical_alignment="center", gap="xsmall")
    run_id = None
    try:
        with row:
            run_id = _choose(view, VIEWS[view] if titled else None)
        if run_id is None:
            _nothing_yet(view)
            return None
        path = runs.run_folder(run_id)
        run = load(str(path), version_of(path))
    except GscError as error:
        if not titled:
            st.title(VIEWS[view], anchor=False)
        _without_result(run_id, error)
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
"""For caches of what is made of a run: a replaced run is read again, no large value is hashed."""


# The path and version are the key, as above.
@st.cache_resource(max_entries=16, show_spinner=False)
def load(path: str, version: int) -> Run:
    """The run of a folder, read once for each version of its files."""
    return Run.load(Path(path))


def _choose(view: str, title: str | None) -> str | None:
    """The run's id, and its title: to be chosen where there are several."""
    known = runs.list_runs()
    asked: str | None = st.query_params.get("run") or st.session_state.get("run") or _usual(known)
    if asked is None:
        return None
    if title is not None:
        st.title(title, anchor=False, width="content")
        st.space("small")
    if set(known) - {asked}:
        key = f"{view}_run"
        st.selectbox(
            "Audit",
            known,
            index=known.index(asked) if asked in known else None,
            placeholder="Choose a run",
            format_func=runs.title,
            key=key,
            on_change=_follow,
            args=(key,),
            label_visibility="collapsed",
            width=240,
        )
    elif asked in known:
        st.markdown(f"**{plain(runs.title(asked))}**", width="content")
    return asked


def _usual(known: Sequence[str]) -> str | None:
    """The newest of a person's own, else the demo."""
    own = (run_id for run_id in known if run_id != runs.DEMO_RUN)
    return next(own, next(iter(known), None))


def _follow(key: str) -> None:
    """Put the chosen run in the address, so that it survives a reload and can be sent on."""
    st.query_params["run"] = st.session_state[key]


def _without_result(run_id: str | None, error: GscError) -> None:
    """How far the audit is, or how it ended, where it is in the history; else what is wrong."""
    try:
        entry = next((each for each in history() if each.id == run_id and not each.finished), None)
    except GscError:  # what was said already is what is wrong
        entry = None
    if entry is None:
        st.error(plain(str(error)))
    else:
        st.caption("This audit has no result yet.")
        card(entry)
    st.page_link(links.to("runs"), label="All runs", icon=":material/list:")


def _nothing_yet(view: str) -> None:
    if queue.jobs(kinds=(Kind.AUDIT, Kind.DEMO), states=queue.WAITING):
        st.title("No audit has finished yet", anchor=False)
        st.markdown("One is waiting or running: Runs shows how far it is.")
        st.page_link(links.to("runs"), label="Runs", icon=":material/list:")
        return
    st.title("No audit has run yet", anchor=False)
    st.markdown(f"{VIEWS[view]} will show {ABOUT[view]}.")
    if not acting.permits(Action.START):
        st.markdown("An auditor can start one.")
        return
    st.markdown("Start one, or look at the demo first.")
    with st.container(horizontal=True):
        st.page_link(links.to("new-audit"), label="New audit", icon=":material/play_arrow:")
        st.page_link(links.to(""), label="Home, with the demo", icon=":material/home:")
