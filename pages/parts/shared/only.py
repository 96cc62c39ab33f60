"""Images that a chart, the map or a check of the sets pointed at: named in the address."""

import streamlit as st

from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Subset, subset_of
from pages.parts.shared import links
from pages.parts.shared.text import plain

KEY = "images_only"


def named_rows(run: Run) -> Rows | None:
    """The images that the address names, with a way back to all; None where it names none.

    Raises GscError for an address that is not understood.
    """
    text = st.query_params.get(KEY)
    if not text:
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Show all images", key="images_not_only", icon=":material/close:", on_click=_all)
        subset = subset_of(text)
        st.markdown(plain(f"{subset.sentence(run)}."), width="content")
    return subset.rows(run)


def link_to(run: Run, subset: Subset, label: str) -> None:
    """A link to these images on the Images page."""
    st.page_link(
        links.to("images"),
        label=plain(label),
        icon=":material/photo_library:",
        query_params={"run": run.id, KEY: subset.text},
    )


def _all() -> None:
    st.query_params.pop(KEY, None)
