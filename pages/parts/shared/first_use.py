"""A quiet note on the two words that all is about, until a person has an audit of their own."""

import streamlit as st

from gsc_core.workspace.runs import DEMO_RUN, list_runs
from pages.parts.shared import links


def first_use() -> None:
    """Say what familiar and unfamiliar mean, with the way to all other words."""
    if any(run_id != DEMO_RUN for run_id in list_runs()):
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            "**Familiar** images (ID): like those the model was made for. **Unfamiliar** images "
            "(OOD): of any other kind.",
            width="content",
        )
        st.page_link(links.to("glossary"), label="Glossary", icon=":material/menu_book:")
