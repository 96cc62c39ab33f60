"""A detector's scores with their threshold as figures, drawn once for all pages that show them."""

import streamlit as st

from gsc_core.charts.threshold import ThresholdFigures, figures
from gsc_core.run import decisions
from gsc_core.run.set_colours import SetColours
from pages.parts.shared.run import load


@st.cache_resource(max_entries=64, show_spinner="Reading the scores…")
def drawn(
    path: str, version: int, detector: str, ood_set: str | None = None, *, half: bool = False
) -> ThresholdFigures:
    """The figures without a mark, of one OOD set or of all; `half` as in `tested_scores`."""
    run = load(path, version)
    scores = decisions.tested_scores(run, detector, half=half)
    familiar = scores.pop("id")
    shown = scores if ood_set is None else {ood_set: scores[ood_set]}
    return figures(familiar, shown, colours=SetColours.of(run.ood_sets))
