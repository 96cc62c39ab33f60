"""Which figures of a run a page shows: as audited, or without the images that people marked."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.marks import by_row
from gsc_core.run.revised import without_marked
from gsc_core.run.stored import Run
from gsc_core.sentences import marks as sentences
from pages.parts.shared import links
from pages.parts.shared.in_address import segments
from pages.parts.shared.text import plain

AUDITED, MARKED = "audited", "marked"
NAMES = {AUDITED: "As audited", MARKED: "Without marked images"}


def figures_of(run: Run) -> Run:
    """The run whose figures the page is to show, after both are said; the run itself unmarked.

    Where nothing is left without the marked images, or the marks are damaged, that is a sentence.
    """
    try:
        marks = by_row(run).values()
        with st.spinner("Counting again without the marked images…", show_time=True):
            view = without_marked(run)
        if view is None:
            return run
        said = sentences.both_figures(run, view, marks)
    except GscError as error:
        st.warning(plain(str(error)))
        return run
    with st.container(border=True, gap="xsmall"):
        st.markdown(
            f"**{plain(sentences.count_of(marks))}.** {plain(said)}",
            help=" ".join(sentences.cautions(marks)),
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            shown = segments("Figures on this page", NAMES, "figures")
            st.page_link(
                links.to("images"),
                label="The marked images",
                icon=":material/flag:",
                query_params={"run": run.id, "images_show": MARKED},
            )
    return view if shown == MARKED else run
