"""What this is, the demo one click away, an audit of your own in three steps, recent runs."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from gsc_core.detectors.facts import Family
from gsc_core.errors import GscError
from gsc_core.jobs.database import StoredModel, StoredSet
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace.catalogue import catalogue
from gsc_core.workspace.demo import is_of_demo, submit_demo
from gsc_core.workspace.history import Outcome, RunEntry, history, summary
from gsc_core.workspace.runs import DEMO_RUN
from pages.parts.shared import links
from pages.parts.shared.audit_parts import Parts, labels, parts, steps
from pages.parts.shared.first_use import first_use
from pages.parts.shared.job import job_progress
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.run_entry import card
from pages.parts.shared.text import UNFAMILIAR, plain

RECENT = 5
OURS = (Family.SHORT_CIRCUIT, Family.FUSION)


def render() -> None:
    """Show the page."""
    st.title("What does your classifier do with images it was never meant to see?", anchor=False)
    try:
        _lead()
        entries, own = history(), parts(own=True)
        left, right = st.columns(2, gap="medium")
        with left, st.container(border=True, height="stretch"):
            demo = next((entry for entry in entries if entry.id == DEMO_RUN), None)
            _demo(demo, first=not own.complete)
        with right, st.container(border=True, height="stretch"):
            _own(own)
        _recent([entry for entry in entries if entry.id != DEMO_RUN])
    except GscError as error:
        st.error(plain(str(error)))


def _lead() -> None:
    others = [each for each in catalogue().detectors if each.family not in OURS]
    st.markdown(
        "A classifier names every image, even one unlike anything it was made for. GSC Audit "
        "shows it familiar and unfamiliar images and counts how many unfamiliar ones would be "
        f"accepted, by Gradient Short-Circuit (GSC) and {len(others)} established detectors. "
        "You get the answer in one sentence, the images behind it, and a threshold for the alarm.",
        width=860,
        help=UNFAMILIAR,
    )
    first_use()


def _demo(entry: RunEntry | None, *, first: bool) -> None:
    """The demo; `first` makes it the page's one primary button."""
    look: Literal["primary", "secondary"] = "primary" if first else "secondary"
    st.header("See an example", anchor=False)
    st.markdown("A classifier of road signs meets unknown signs, shop signs, fog and noise.")
    if entry is not None and entry.waiting and entry.job is not None:
        job_progress(entry.job.id, "home_demo_job")
    elif entry is not None and entry.finished:
        said = summary(entry)
        if said is not None:
            st.markdown(f"_{plain(said.answer or said.error or '')}_")
        if st.button("Open the demo audit", key="home_demo", type=look):
            st.switch_page(links.to("results"), query_params={"run": DEMO_RUN})
    else:
        if entry is not None and entry.error is not None:
            st.error(plain(entry.error))
        if not acting.permits(Action.START):
            st.caption(READS_ONLY)
            return
        st.caption("Needs no files and takes about two minutes. It draws its own images.")
        if st.button("Run the demo audit", key="home_demo", type=look):
            submit_demo()
            st.rerun()


def _own(own: Parts) -> None:
    if not acting.permits(Action.START):
        st.header("Look at audits", anchor=False)
        st.markdown(READS_ONLY)
        return
    st.header("Audit your own model", anchor=False)
    ready = (
        "Everything it needs is there." if own.complete else "It needs three things, in any order."
    )
    st.markdown(ready)
    missing = next((step for step in steps(own) if not step.done), None)
    if missing is None:
        if st.button("Start an audit", key="home_start", type="primary"):
            st.switch_page(links.to("new-audit"))
    elif st.button(f"Add {missing.title[0].lower()}{missing.title[1:]}", key="home_add"):
        st.switch_page(links.to(missing.address))
    if missing is not None and (every := parts()).complete:
        st.page_link(
            links.to("new-audit"),
            label="Or try it with the model and images of the demo",
            icon=":material/play_arrow:",
            query_params=_of_demo(every),
        )


def _of_demo(every: Parts) -> dict[str, str]:
    """The demo's model and images, as the address of the form names them."""
    lists: dict[str, Sequence[StoredModel | StoredSet]] = {
        "audit_model": every.models,
        "audit_id_set": every.known,
        "audit_ood_sets": every.strangers,
    }
    return {
        key: labels(records)[record.id]
        for key, records in lists.items()
        if (record := next(filter(is_of_demo, records), None)) is not None
    }


def _recent(entries: list[RunEntry]) -> None:
    st.header("Recent audits", anchor=False)
    if not entries:
        st.caption("The audits you start are listed here, with their progress and their answer.")
        return
    at_work_first = sorted(entries, key=lambda entry: entry.outcome is not Outcome.RUNNING)
    for entry in at_work_first[:RECENT]:
        card(entry, key="home", manage=False)
    st.page_link(links.to("runs"), label="All runs", icon=":material/list:")


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
