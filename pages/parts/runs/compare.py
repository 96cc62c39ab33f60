"""Finished runs side by side: a table, their figures in common, and overlaid curves."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gsc_core.charts.scores import roc
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.run.set_colours import SetColours
from gsc_core.run.stored import version_of
from gsc_core.workspace import runs
from gsc_core.workspace.history import RunEntry
from gsc_core.workspace.run_comparison import Comparison, compare
from pages.parts.shared.intervals import MEANINGS, METRIC_NAMES, better, in_words, styled
from pages.parts.shared.run import load
from pages.parts.shared.text import plain

MOST = 6  # runs side by side, whose colours are easiest to distinguish


def comparison(entries: Sequence[RunEntry]) -> None:
    """Choose two or more of the finished runs and compare them."""
    titles = _titles(entries)
    if len(titles) < 2:
        return
    st.header("Compare runs", anchor=False)
    chosen = st.multiselect(
        "Finished runs",
        list(titles),
        format_func=titles.__getitem__,
        max_selections=MOST,
        placeholder="Choose two or more",
        key="runs_compare",
        bind="query-params",
    )
    if len(chosen) < 2:
        return
    _side_by_side(tuple((each, version_of(runs.run_folder(each))) for each in chosen))


def _titles(entries: Sequence[RunEntry]) -> dict[str, str]:
    finished = [entry for entry in entries if entry.finished]
    titles = [entry.title for entry in finished]
    return {
        entry.id: entry.title if titles.count(entry.title) == 1 else f"{entry.title} ({entry.id})"
        for entry in finished
    }


@st.fragment
def _side_by_side(chosen: tuple[tuple[str, int], ...]) -> None:
    try:  # here: what a fragment raises does not reach its caller
        _show(_compared(chosen), chosen)
    except GscError as error:
        st.error(plain(str(error)))


def _show(found: Comparison, chosen: tuple[tuple[str, int], ...]) -> None:
    st.dataframe(
        _overview(found),
        key="runs_compare_overview",
        placeholder="–",
        alt="Each run: its model, deciding detector, what it accepts, FPR95 and AUROC, accuracy, "
        "numbers of images",
    )
    if not found.pairs:
        st.info("These runs share no detector on a set of unfamiliar images of the same name.")
        return
    metric = st.selectbox(
        "Measure",
        list(METRIC_NAMES),
        format_func=METRIC_NAMES.__getitem__,
        key="runs_compare_metric",
        width=420,
    )
    table = found.table(metric)
    table.index = pd.Index(
        [_pair(*pair) for pair in found.pairs], name="Detector, unfamiliar images"
    )
    st.dataframe(
        styled(table, metric),
        key="runs_compare_table",
        alt=f"{METRIC_NAMES[metric]}: every detector and set that the runs share, a column a run",
    )
    st.caption(
        f"{MEANINGS[metric]} {better(metric)} is better, and shaded more strongly. Percent, with "
        "the 95 % interval in brackets. Where intervals overlap, the runs may be equally good."
    )
    _curves(found, chosen)


def _curves(found: Comparison, chosen: tuple[tuple[str, int], ...]) -> None:
    single = [pair for pair in found.pairs if pair[1] != MEAN]
    if not single:
        return
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    detector, ood_set = left.selectbox(
        "Detector and unfamiliar images",
        single,
        format_func=lambda pair: _pair(*pair),
        key="runs_compare_pair",
    )
    log_x = right.toggle("Logarithmic scale", key="runs_compare_log")
    st.plotly_chart(
        _figure(chosen, detector, ood_set, log_x),
        key="runs_compare_roc",
        config={"displayModeBar": False},
        alt=f"ROC curves of {len(chosen)} runs for {detector} on {ood_set}",
    )


def _compared(chosen: tuple[tuple[str, int], ...]) -> Comparison:
    return compare([load(str(runs.run_folder(run_id)), version) for run_id, version in chosen])


@st.cache_data(max_entries=64, show_spinner="Reading the scores…")
def _figure(
    chosen: tuple[tuple[str, int], ...], detector: str, ood_set: str, log_x: bool
) -> go.Figure:
    curves = _compared(chosen).curves(detector, ood_set)
    return roc(curves, log_x=log_x, colours=SetColours.of(curves))


def _overview(found: Comparison) -> pd.DataFrame:
    def words(cell: object) -> object:
        return f"{in_words(cell)} %" if isinstance(cell, Interval) else cell

    table = found.overview.map(words)
    shares = found.overview["ID accuracy"]
    table["ID accuracy"] = [None if s is None or pd.isna(s) else percent(s, 1) for s in shares]
    return table


def _pair(detector: str, ood_set: str) -> str:
    return f"{detector}, {'mean of the sets' if ood_set == MEAN else ood_set}"
