"""One detector's scores: histograms of each set, and the curves of every possible threshold."""

from typing import Literal

import plotly.graph_objects as go
import streamlit as st

from gsc_core.charts import scores as score_charts
from gsc_core.charts.scores import Bars
from gsc_core.errors import GscError
from gsc_core.run.score_shapes import MAX_SETS, shapes_of
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import Run
from pages.parts.results.selected import of_bar, of_point
from pages.parts.shared.behind import behind
from pages.parts.shared.detector_choice import detector_choice
from pages.parts.shared.run import BY_VERSION
from pages.parts.shared.text import WRONG_WAY, plain

CURVES = {
    "roc": "ROC",
    "ood": "Precision: unfamiliar",
    "id": "Precision: familiar",
}
READING = {
    "roc": "Every point is a threshold. The higher the line on the left, the fewer unfamiliar "
    "images are accepted for the same share of familiar ones.",
    "ood": "Every point is a threshold: of the images it flags, how many are unfamiliar.",
    "id": "Every point is a threshold: of the images it accepts, how many are familiar.",
}


@st.fragment
def scores(run: Run, deciding: str) -> None:
    """Choose a detector, at first the deciding one, and see its scores; redraws alone."""
    st.header("How well a detector separates familiar from unfamiliar images", anchor=False)
    left, right = st.columns(2)
    with left:
        detector = detector_choice(run, run.detectors, "results_detector", first=deciding)
    kind = right.segmented_control(
        "Curve",
        list(CURVES),
        default="roc",
        required=True,
        format_func=CURVES.__getitem__,
        key="results_curve",
        wrap=True,
        help="ROC: accepted familiar images against accepted unfamiliar images (TPR, FPR). "
        "Precision: how many of the images a threshold picks are right, over the share it picks "
        "(precision and recall).",
    )
    left.caption(_about(run, detector))
    log_x = right.toggle(
        "Logarithmic scale",
        key="results_log",
        help="Spreads out the left end, where only a few images are accepted or flagged.",
    )
    if detector in run.inverted:
        st.warning(WRONG_WAY)
    try:
        histogram, line, bars = _figures(run, detector, kind, log_x)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    left, right = st.columns(2)
    options = {"displayModeBar": False}
    with left:
        alt = f"Histograms of the outlier scores of {detector}: ID against each OOD set."
        bar = st.plotly_chart(
            histogram,
            key="results_histogram",
            on_select="rerun",
            selection_mode="points",
            config=options,
            alt=alt,
        )
        st.caption("Choose a bar to see its images.")
    with right:
        alt = f"{CURVES[kind]} curve of {detector} for each OOD set."
        point = st.plotly_chart(
            line,
            key="results_roc",
            on_select="rerun",
            selection_mode="points",
            config=options,
            alt=alt,
        )
        choose = " Choose one to see what it accepts." if kind == "roc" else ""
        st.caption(READING[kind] + choose)
    for subset in (*of_bar(detector, bars, bar), *of_point(run, detector, point)):
        behind(run, subset)
    if len(run.ood_sets) > MAX_SETS:
        st.caption(f"The first {MAX_SETS} of {len(run.ood_sets)} sets are drawn.")


@st.cache_data(max_entries=128, show_spinner="Reading the scores…", hash_funcs=BY_VERSION)
def _figures(run: Run, detector: str, kind: str, log_x: bool) -> tuple[go.Figure, go.Figure, Bars]:
    shapes, colours = shapes_of(run, detector), SetColours.of(run.ood_sets)
    if kind == "roc":
        line = score_charts.roc(shapes.curves, log_x=log_x, colours=colours)
    else:
        whose: Literal["id", "ood"] = "id" if kind == "id" else "ood"
        line = score_charts.precision_recall(shapes.curves, whose, log_x=log_x, colours=colours)
    histogram = score_charts.histogram(shapes.histograms, colours=colours)
    return histogram, line, score_charts.bars_of(shapes.histograms, colours=colours)


def _about(run: Run, name: str) -> str:
    """What a detector does and where it was published, where the run tells it."""
    detector = run.record(name)
    if detector is None:
        return "A detector of another version of this program."
    fails = f" Known to fail on {detector.fails_on}." if detector.fails_on else ""
    text = plain(f"{detector.title}: {detector.about}{fails}")
    if (paper := detector.paper) is not None:
        text += f" [{plain(paper.title)}]({paper.url}), {plain(paper.venue)} {paper.year}."
    return text
