"""The result of one run: the answer in a sentence, all detectors in a table, the scores behind."""

import re
from collections.abc import Callable
from pathlib import Path
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
    try:
        chosen = _choose_run()
        if chosen is None:
            _nothing_yet()
            return
        path = runs.run_folder(chosen)
        run = _load(str(path), runs.version(path))
    except GscError as error:
        st.error(plain(str(error)))
        return
    st.caption(f"**GSC Audit** · {plain(runs.subject(run))}")
    st.header(plain(runs.answer(run)), anchor=False)
    st.markdown(plain(runs.doubt(run)))
    _charts(run)
    _table(run)
    _basis(run)


def plain(text: str) -> str:
    """A user's text for a Markdown element, shown as it is: no markup, links, icons or formulas."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    escaped = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable)
    # Links, :icons: and arrows are found after escapes are read; a word joiner breaks them up.
    return re.sub(r"(?<=\S)(\\[:@>]|\\\.(?=\S))", "\N{WORD JOINER}\\1", escaped)


def _choose_run() -> str | None:
    """The run's id; the list is offered only where there is a choice."""
    known = runs.list_runs()
    demo = runs.DEMO_RUN if runs.run_folder(runs.DEMO_RUN).is_dir() else None
    asked: str | None = st.query_params.get("run") or demo or next(iter(known), None)
    if asked is not None and set(known) - {asked}:
        st.selectbox(
            "Run",
            known,
            index=known.index(asked) if asked in known else None,
            placeholder="Choose a run",
            key="results_run",
            on_change=_follow,
            width=320,
        )
    return asked


def _follow() -> None:
    """Put the chosen run in the address, so that it survives a reload and can be sent on."""
    st.query_params["run"] = st.session_state.results_run


def _nothing_yet() -> None:
    st.header("No audit has run yet", anchor=False)
    st.markdown("Type `make run` or `gsc demo` where you started the app, then reload this page.")


# The path and version are the key: a replaced run is read anew, and no large value is hashed.
@st.cache_data(max_entries=16, show_spinner=False)
def _load(path: str, version: int) -> StoredRun:
    return runs.load_run(Path(path))


@st.cache_data(max_entries=64, show_spinner="Reading the scores…")
def _figures(path: str, version: int, detector: str, log_x: bool) -> tuple[go.Figure, go.Figure]:
    run = _load(path, version)
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
