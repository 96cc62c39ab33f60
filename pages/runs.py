"""All audits: in progress, finished, failed; and finished ones side by side."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace.history import Outcome, RunEntry, history
from pages.parts.runs.compare import comparison
from pages.parts.shared import links
from pages.parts.shared.run_entry import card
from pages.parts.shared.text import plain

ON_A_PAGE = 12


def render() -> None:
    """Show the run that the address names, then the queue, then all others."""
    st.title("Runs", anchor=False)
    try:
        entries = history()
        if not entries:
            _nothing_yet()
            return
        if acting.permits(Action.START):
            st.page_link(links.to("new-audit"), label="New audit", icon=":material/add:")
        asked = st.query_params.get("run")
        if asked:
            _asked(entries, asked)
        others = [entry for entry in entries if entry.id != asked]
        _at_work([entry for entry in others if entry.waiting])
        _history([entry for entry in others if not entry.waiting], "Others" if asked else "History")
        comparison(entries)
    except GscError as error:
        st.error(plain(str(error)))


def _nothing_yet() -> None:
    if not acting.permits(Action.START):
        st.markdown("No audit has run yet: an auditor can start one.")
        return
    st.markdown("No audit has run yet. Start one, or look at the demo first.")
    with st.container(horizontal=True):
        st.page_link(links.to("new-audit"), label="New audit", icon=":material/add:")
        st.page_link(links.to(""), label="Home, with the demo", icon=":material/home:")


def _asked(entries: list[RunEntry], run_id: str) -> None:
    found = next((entry for entry in entries if entry.id == run_id), None)
    if found is None:
        st.warning(plain(f"There is no run {run_id[:64]} any more: choose one below."))
    else:
        card(found)


def _at_work(waiting: list[RunEntry]) -> None:
    """The running one first, then in the order of the queue."""
    if not waiting:
        return
    st.header("In progress", anchor=False)
    for entry in sorted(waiting, key=lambda e: (e.outcome is not Outcome.RUNNING, e.created)):
        card(entry)


def _history(ended: list[RunEntry], title: str) -> None:
    if not ended:
        return
    st.header(title, anchor=False)
    pages = -(-len(ended) // ON_A_PAGE)
    page = 1
    if pages > 1:
        page = st.pagination(pages, key="runs_page", bind="query-params")
    for entry in ended[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
        card(entry)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
