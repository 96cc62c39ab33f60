"""Who did what, for operators: the newest first, by person and by kind."""

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.team import journal
from gsc_core.team.journal import Entry, Event, Wanted
from pages.parts.shared.text import plain, when

MOST = 500


def render() -> None:
    """Ask for filters and show what is left."""
    st.title("Log", anchor=False)
    st.markdown(
        "Logins, uploads, audits, decisions, downloads, shares and deletions. Lines are only ever "
        "added. On the command line, `gsc log` has all of them."
    )
    try:
        _entries(_wanted())
    except GscError as error:
        st.error(plain(str(error)))


def _wanted() -> Wanted:
    left, right = st.columns(2)
    events = left.multiselect(
        "What was done",
        list(Event),
        format_func=lambda event: event.capitalize(),
        placeholder="Everything",
        key="log_events",
    )
    person = right.text_input("Who", placeholder="Everyone, or an e-mail address", key="log_person")
    return Wanted(events=tuple(events), person=(person or "").strip() or None)


def _entries(wanted: Wanted) -> None:
    reading = journal.read(wanted, MOST)
    if reading.damaged:
        lines = number_of(reading.damaged, "damaged line")
        st.warning(f"{lines} of the log cannot be read.")
    if not reading.entries:
        of_this_kind = "" if wanted == Wanted() else " of this kind"
        st.caption(f"Nothing{of_this_kind} has been logged yet.")
        return
    st.dataframe(
        pd.DataFrame([_row(entry) for entry in reading.entries]),
        hide_index=True,
        key="log_table",
        alt="Who did what, the newest first",
    )
    if len(reading.entries) == MOST:
        st.caption(f"The newest {MOST}.")


def _row(entry: Entry) -> dict[str, str]:
    return {
        "When": when(entry.time),
        "Who": entry.person or "no login",
        "Role": entry.role,
        "What": " ".join(dict.fromkeys(filter(None, (str(entry.event), entry.what)))),
        "Name": entry.name,
        "Details": entry.detail,
        "Id": entry.subject,
    }


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
