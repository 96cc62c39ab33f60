"""What was deleted and can still be restored, and how much room a person's things take."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.jobs.database import Deleted
from gsc_core.workspace import trash, usage
from pages.parts.shared.text import plain, when

ON_A_PAGE = 20
_WHAT = {trash.MODEL: "Model", trash.SET: "Image set", trash.RUN: "Run"}
_DAY = 86_400.0


def render() -> None:
    """Say how long things stay, how much room is taken, then each thing with two buttons."""
    st.title("Trash", anchor=False)
    try:
        days = trash.keep_days()
        st.markdown(
            f"Models, image sets and runs that are deleted stay here for {number_of(days, 'day')}. "
            "Until then they can be restored as they were; what was shared of a run stays revoked."
        )
        st.caption(plain(usage.sentence()))
        _list(trash.entries(), days)
    except GscError as error:
        st.error(plain(str(error)))


def _list(entries: list[Deleted], days: float) -> None:
    if not entries:
        st.caption("The trash is empty.")
        return
    pages = -(-len(entries) // ON_A_PAGE)
    page = min(st.session_state.get("trash_page", 1), pages) if pages > 1 else 1
    for entry in entries[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
        _row(entry, days)
    if pages > 1:
        st.pagination(pages, key="trash_page")


def _row(entry: Deleted, days: float) -> None:
    with st.container(border=True, key=f"trash_row_{entry.id}", gap="xsmall"):
        st.markdown(f"**{plain(entry.name)}**")
        by = f" by {entry.by}" if entry.by else ""
        st.caption(
            plain(
                f"{_WHAT[entry.what]}, deleted {when(entry.deleted)}{by}. Removed for good after "
                f"{when(entry.deleted + days * _DAY)}."
            )
        )
        with st.container(horizontal=True):
            if st.button("Restore", key=f"trash_restore_{entry.id}", icon=":material/restore:"):
                trash.restore(entry.id)
                st.rerun()
            with st.popover("Delete for good", key=f"trash_remove_{entry.id}"):
                st.markdown("Its files are removed now, and nobody can bring them back.")
                if st.button("Delete for good", key=f"trash_remove_yes_{entry.id}", type="primary"):
                    trash.remove(entry.id)
                    st.rerun()


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
