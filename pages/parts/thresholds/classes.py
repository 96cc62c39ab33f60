"""Which classes swallow unfamiliar images: a chart whose bars open the images."""

import streamlit as st

from gsc_core.charts.classes import class_bars, swallowing
from gsc_core.charts.image_map import rows_of_points
from gsc_core.errors import GscError
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Classified
from pages.parts.shared.behind import behind
from pages.parts.shared.text import plain


@st.fragment
def swallowing_classes(run: Run, decision: Decision, *, trial: bool) -> None:
    """The classes by which most unfamiliar images are accepted, and the images of one of them.

    `trial` as in `decisions.effect_of`.
    """
    try:
        effects = decisions.effect_by_class(run, decision, trial=trial)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    classes = swallowing(effects)
    if not classes:
        return
    st.subheader("Which classes swallow unfamiliar images", anchor=False)
    event = st.plotly_chart(
        class_bars(effects),
        key="threshold_swallowing",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Accepted unfamiliar images by class: {classes[0].name} takes most of them, "
        f"{classes[0].unnoticed:,}.",
    )
    picked = rows_of_points(event.selection.get("points", ()))
    index = picked[0] if picked else classes[0].index
    part = decisions.part_of(decision, trial=trial)
    behind(run, Classified(index, decision.detector, decision.value, part))
    st.caption("Choose a bar to see the images of another class.")
