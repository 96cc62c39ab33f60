"""Which classes swallow unfamiliar images: a chart whose bars open the images."""

from collections.abc import Sequence

import streamlit as st

from gsc_core.charts import classes
from gsc_core.run import decisions
from gsc_core.run.decisions import ClassEffect, Decision
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Classified
from pages.parts.shared.behind import behind


@st.fragment
def swallowing(
    run: Run, decision: Decision, effects: Sequence[ClassEffect], *, trial: bool
) -> None:
    """The classes by which most unfamiliar images are accepted, and the images of one of them.

    `trial` as in `decisions.effect_of`.
    """
    shown = classes.swallowing(effects)
    if not shown:
        return
    st.markdown("**Which classes swallow unfamiliar images**")
    event = st.plotly_chart(
        classes.class_bars(effects),
        key="threshold_swallowing",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Accepted unfamiliar images by class: {shown[0].name} takes most of them, "
        f"{shown[0].unnoticed:,}.",
    )
    picked = classes.class_of_bar(event.selection.get("points", ()))
    index = shown[0].index if picked is None else picked
    part = decisions.part_of(decision, trial=trial)
    behind(run, Classified(index, decision.detector, decision.value, part))
    st.caption("Choose a bar to see the images of another class.")
