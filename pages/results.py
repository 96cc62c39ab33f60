"""The result of one run: the answer in a sentence, all detectors in a table, the scores behind."""

from collections.abc import Callable
from typing import Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from pandas.io.formats.style import Styler

from gsc_core import charts
from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.evaluation.metrics import curve
from gsc_core.workspace import runs
from gsc_core.workspace.runs import StoredRun
from pages.parts.run import chosen_run, load
from pages.parts.text import plain

METRIC_NAMES = {
    "fpr95": "FPR95: strangers let through",
    "fpr95_ood_positive": "FPR95, OOD positive: familiar pictures flagged",
    "auroc": "AUROC: familiar and strange told apart",
    "aupr_in": "AUPR-in: precision for familiar pictures",
    "aupr_out": "AUPR-out: precision for strangers",
    "detection_error": "Detection error: least mean of both mistakes",
}
MEANINGS = {
    "fpr95": "The threshold lets 95 % of the familiar pictures through.",
    "fpr95_ood_positive": "The threshold catches 95 % of the strangers, as in OpenOOD.",
    "auroc": "How often a stranger scores higher than a familiar picture; 50 is a coin toss.",
    "aupr_in": "Average share of familiar pictures among those let through.",
    "aupr_out": "Average share of strangers among those flagged.",
    "detection_error": "At the threshold that makes the fewest mistakes.",
}
HIGHER_IS_BETTER = {"auroc", "aupr_in", "aupr_out"}
MOST_SETS = 12


def render() -> None:
    """Show the run that the address asks for, else the demo, else the newest."""
    run = chosen_run("results")
    if run is None:
        return
    st.caption(f"**GSC Audit** · {plain(runs.subject(run))}")
    st.header(plain(runs.answer(run)), anchor=False)
    st.markdown(plain(runs.doubt(run)))
    _charts(run)
    _table(run)
    _basis(run)


@st.cache_data(max_entries=64, show_spinner="Reading the scores…")
def _figures(path: str, version: int, detector: str, log_x: bool) -> tuple[go.Figure, go.Figure]:
    run = load(path, version)
    scores = run.scores(detector)
    shown = dict(list(scores.items())[: MOST_SETS + 1])
    colours = charts.SetColours(run.ood_sets)
    curves = {name: curve(scores["id"], shown[name]) for name in shown if name != "id"}
    return (
        charts.histogram(shown, colours=colours),
        charts.roc(curves, log_x=log_x, colours=colours),
    )


def _table(run: StoredRun) -> None:
    st.subheader("Every detector", anchor=False)
    metric = st.selectbox(
        "Measure", list(METRIC_NAMES), format_func=METRIC_NAMES.__getitem__, key="results_metric"
    )
    better = "Higher" if metric in HIGHER_IS_BETTER else "Lower"
    st.dataframe(
        _styled(run, metric),
        key="results_table",
        placeholder="–",
        height=_height(run),
        column_config={
            "_index": st.column_config.TextColumn(width=_index_width(run)),
            MEAN: st.column_config.NumberColumn("mean of the sets"),
        },
    )
    st.caption(
        f"{MEANINGS[metric]} {better} is better. Percent, with the 95 % interval in brackets."
    )
    if run.inverted:
        st.caption(
            "Backwards: strangers, or stand-ins made from familiar pictures, score lower than "
            "familiar pictures do."
        )
    if "turned" in run.directions.values():
        st.caption("Direction turned: on stand-ins the published direction was backwards.")
    if run.excused:
        st.markdown("**Not run**")
        reasons = pd.DataFrame({"Why": dict(run.excused)}).rename_axis("Detector")
        st.dataframe(reasons, key="results_excused")


def _styled(run: StoredRun, metric: str) -> Styler:
    """Numbers to sort by, each shown as `31.2 (28.0–34.5)`: a Styler keeps both in a cell."""
    columns = [MEAN, *run.ood_sets]
    cells = {(row.detector, row.ood_set): row.metrics[metric] for row in run.rows}
    frame = pd.DataFrame(
        {
            c: [100 * cells[d, c].value if (d, c) in cells else None for d in run.detectors]
            for c in columns
        },
        index=pd.Index(run.detectors, name="Detector"),
        dtype=float,
    ).sort_values(MEAN, ascending=metric not in HIGHER_IS_BETTER)
    names = {detector: _shown(run, detector) for detector in run.detectors}
    styler = frame.rename(index=names).style
    for (detector, column), cell in cells.items():
        text = f"{100 * cell.value:.1f} ({100 * cell.low:.1f}–{100 * cell.high:.1f})"
        styler.format(_always(text), subset=([names[detector]], [column]))
    return styler


def _index_width(run: StoredRun) -> int:
    """Pixels for the longest detector name, with room left for numbers on a phone."""
    longest = max(len(_shown(run, detector)) for detector in run.detectors)
    return min(40 + 7 * longest, 220)


def _shown(run: StoredRun, detector: str) -> str:
    notes = ["backwards"] if detector in run.inverted else []
    notes += ["direction turned"] if run.directions.get(detector) == "turned" else []
    return f"{detector} ({', '.join(notes)})" if notes else detector


def _height(run: StoredRun) -> Literal["content"] | int:
    """All rows when they fit on a screen, else a table that scrolls."""
    return "content" if len(run.detectors) <= 20 else 720


def _always(text: str) -> Callable[[object], str]:
    return lambda _: text


def _charts(run: StoredRun) -> None:
    st.subheader("How far apart a detector sees them", anchor=False)
    best = run.detectors.index(run.best().detector)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    detector = left.selectbox("Detector", run.detectors, index=best, key="results_detector")
    log_x = right.toggle("Logarithmic scale for strangers", key="results_log")
    try:
        scores, roc = _figures(str(run.path), runs.version(run.path), detector, log_x)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    if detector in run.inverted:
        st.warning("This detector points the wrong way: strangers score lower, not higher.")
    left, right = st.columns(2)
    options = {"displayModeBar": False}
    left.plotly_chart(scores, key="results_histogram", config=options)
    right.plotly_chart(roc, key="results_roc", config=options)
    if len(run.ood_sets) > MOST_SETS:
        st.caption(f"The first {MOST_SETS} of {len(run.ood_sets)} sets are drawn.")


def _basis(run: StoredRun) -> None:
    with st.expander("What this rests on", key="results_basis"):
        if run.id_accuracy is not None:
            after = "".join(
                f"; after {name}: {100 * share:.1f} %"
                for name, share in run.id_accuracy_after.items()
            )
            text = f"Familiar pictures named correctly: {100 * run.id_accuracy:.1f} %{after}."
            st.markdown(plain(text))
        counts = {name: images.model_dump() for name, images in run.images.items()}
        st.dataframe(pd.DataFrame.from_dict(counts, orient="index").rename_axis("Set"))
        st.json({"settings": run.settings, "provenance": run.provenance}, expanded=False)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry,
# where configuration (and login) is. As a module, `render` is handed to st.Page by app.py.
if __name__ == "__main__":
    from app import main

    main()
