"""One run as a card: its title and state, what it says or how far it is, what can be done."""

from collections.abc import Sequence

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, StoredModel, StoredSet
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace.audits import answer_audit, asked_for
from gsc_core.workspace.history import Outcome, RunEntry, delete_run, log_tail, summary
from pages.parts.shared import links
from pages.parts.shared.audit_parts import detector_title, labels, parts
from pages.parts.shared.job import job_progress
from pages.parts.shared.question import asked, doubt
from pages.parts.shared.rights import to_the_trash
from pages.parts.shared.text import duration, plain, when

VIEWS = {
    "results": "Results",
    "images": "Images",
    "thresholds": "Thresholds",
    "report": "Report",
}
COLOURS = {
    Outcome.QUEUED: "gray",
    Outcome.RUNNING: "blue",
    Outcome.FINISHED: "green",
    Outcome.FAILED: "red",
    Outcome.ASKING: "orange",
    Outcome.CANCELLED: "gray",
    Outcome.LOST: "orange",
}


def card(entry: RunEntry, *, key: str = "run", manage: bool = True) -> None:
    """Show a run; with `manage` it can be tried again and deleted here."""
    with st.container(border=True, key=f"{key}_{entry.id}", gap="small"):
        _headline(entry)
        if entry.waiting and entry.job is not None:
            job_progress(entry.job.id, f"{key}_job_{entry.id}")
        else:
            _outcome(entry, key if manage else None)
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            if entry.finished and not entry.waiting:
                for address, title in VIEWS.items():
                    icon = ":material/insights:" if address == "results" else None
                    query = {"run": entry.id}
                    st.page_link(links.to(address), label=title, icon=icon, query_params=query)
            if manage and not entry.waiting:
                _manage(entry, key)
            elif not (manage or entry.finished or entry.waiting) and _may_manage(entry):
                query = {"run": entry.id}
                st.page_link(links.to("runs"), label="What can be done", query_params=query)


def _headline(entry: RunEntry) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(entry.title)}**", width="content")
        st.badge(entry.outcome.capitalize(), color=COLOURS[entry.outcome])  # type: ignore[arg-type]
        said = summary(entry)
        took = f", took {duration(said.seconds)}" if said is not None and said.seconds else ""
        by = f", by {plain(entry.owner)}" if entry.owner else ""
        st.caption(f"{when(entry.created)}{took}{by}", width="content")


def _outcome(entry: RunEntry, key: str | None) -> None:
    """What it says; a question with its answers where there is a key for their buttons."""
    job, question = entry.job, entry.question
    key = key if acting.permits(Action.CHANGE, entry.owner) else None
    if entry.outcome is Outcome.ASKING and job is not None and question is not None:
        if key is None:
            st.warning(plain(doubt(question)), icon=":material/help:")
        else:
            asked(question, f"{key}_{entry.id}", lambda one: answer_audit(job, one))
        return
    said = summary(entry)
    if said is not None and said.answer is not None:
        st.markdown(plain(said.answer))
    reason = entry.error or (said.error if said is not None else None)
    if reason is not None:
        st.error(plain(reason))
    elif entry.outcome is Outcome.CANCELLED:
        what = ": resume it, or delete it" if _may_manage(entry) else ""
        st.caption(f"Cancelled. Finished work is kept{what}.")


def _may_manage(entry: RunEntry) -> bool:
    return acting.permits(Action.DELETE, entry.owner)


def _manage(entry: RunEntry, key: str) -> None:
    if not _may_manage(entry):
        return
    st.space("stretch")
    try:
        _retry(entry, key)
        _delete(entry, key)
    except GscError as error:
        st.error(plain(str(error)))


def _retry(entry: RunEntry, key: str) -> None:
    job = entry.job
    ended = (Outcome.ASKING, Outcome.FAILED, Outcome.CANCELLED, Outcome.LOST)
    if job is not None and entry.outcome in ended:
        if entry.outcome in (Outcome.ASKING, Outcome.FAILED) and job.kind is Kind.AUDIT:
            _anew(job)
        label = "Resume" if entry.outcome is Outcome.CANCELLED else "Try again"
        if st.button(label, key=f"{key}_retry_{entry.id}", icon=":material/replay:"):
            queue.retry(job.id)
            st.rerun()
        if log := log_tail(entry.id):
            with st.popover("Log", key=f"{key}_log_{entry.id}"):
                st.code(log, language=None, wrap_lines=True)


def _anew(job: Job) -> None:
    """A way to the form, filled in as it was, where something has to be chosen first."""
    before, found = asked_for(job), parts()
    st.page_link(
        links.to("new-audit"),
        label="Choose again",
        icon=":material/tune:",
        query_params={
            "audit_model": _labels(found.models, before.model),
            "audit_id_set": _labels(found.known, before.familiar),
            "audit_ood_sets": _labels(found.strangers, *before.unfamiliar),
            "audit_detectors": [detector_title(name) for name in before.detectors],
        },
        help="A new audit of the same model and images, with other choices.",
    )


def _labels(
    listed: Sequence[StoredModel | StoredSet], *chosen: StoredModel | StoredSet | None
) -> list[str]:
    """What the form's lists call those that were chosen; of what is gone, nothing."""
    names = labels(listed)
    return [names[each.id] for each in chosen if each is not None and each.id in names]


def _delete(entry: RunEntry, key: str) -> None:
    with st.popover("Delete", key=f"{key}_delete_{entry.id}"):
        st.markdown(
            f"{to_the_trash()} What was shared of it is revoked for good. The model and the images "
            "stay."
        )
        if not st.button("Delete the run", key=f"{key}_delete_yes_{entry.id}", type="primary"):
            return
    delete_run(entry.id)
    if st.session_state.get("run") == entry.id:
        del st.session_state["run"]
    if st.query_params.get("run") == entry.id:
        del st.query_params["run"]
    st.rerun()
