"""A detector's scores with their threshold as figures, drawn once for all pages that show them."""

import streamlit as st

from gsc_core.charts.threshold import ThresholdFigures, figures
from gsc_core.run.decisions import Part
from gsc_core.run.score_shapes import tradeoff_of
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from pages.parts.shared.run import BY_VERSION


@st.cache_resource(max_entries=64, show_spinner="Reading the scores…", hash_funcs=BY_VERSION)
def drawn(
    run: Run, detector: str, part: Part = "all", ood_set: str | None = None
) -> ThresholdFigures:
    """The figures without a line at a threshold, of a part of one OOD set or of all."""
    shown = run.ood_sets if ood_set is None else (ood_set,)
    colours = SetColours.of(run.ood_sets)
    return figures(tradeoff_of(run, detector, part, ood_set), shown, colours=colours)
