"""From the figures to the images behind them: what was missed, and what was flagged for nothing."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.run import decisions
from gsc_core.run.mistakes import mistakes
from gsc_core.run.stored import Run
from pages.parts.images.order import ALARMS, MISSED, SHOW
from pages.parts.shared import links


def mistake_links(run: Run) -> None:
    """Two buttons with their counts; nothing where they cannot be counted, which is said above."""
    try:
        wrong = mistakes(run, decisions.current(run))
    except GscError:
        return
    shown = (
        (MISSED, "Missed", wrong.missed, ":material/visibility_off:"),
        (ALARMS, "False alarms", wrong.false_alarms, ":material/notification_important:"),
    )
    with st.container(horizontal=True, key="results_mistakes"):
        for show, title, count, icon in shown:
            st.page_link(
                links.to("images"),
                label=f"{title}: {number_of(count, 'image')}",
                icon=icon,
                query_params={"run": run.id, SHOW: show},
                disabled=not count,
            )
