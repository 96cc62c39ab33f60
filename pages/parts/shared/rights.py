"""What a page says about rights: that one reads only, whose a thing is, where deleted things go."""

import streamlit as st

from gsc_core.evaluation.counts import number_of
from gsc_core.team import acting
from gsc_core.workspace import trash
from pages.parts.shared.text import plain

READS_ONLY = (
    "You are here as a reader: you see models, images, results and reports. An operator can make "
    "you an auditor."
)


def owned_by(owner: str | None) -> None:
    """Whose a model or set is, where there is a login and it is another's."""
    person = acting.current()
    if person.name is not None and owner is not None and not person.owns(owner):
        st.caption(plain(f"Added by {owner}"), width="content")


def to_the_trash() -> str:
    """What deleting does."""
    days = number_of(trash.keep_days(), "day")
    return f"It goes to the Trash, from where it can be restored for {days}."
