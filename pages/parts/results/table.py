"""All detectors on all sets of unfamiliar images, and which is best where."""

from typing import Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN
from gsc_core.run import decisions, picking
from gsc_core.run.stored import Run
from gsc_core.run.winners import HIGHER_IS_BETTER, Winner, winners
from gsc_core.sentences.decision import favourite_sentence
from gsc_core.sentences.detector_names import called, title_of
from pages.parts.shared.intervals import MEANINGS, METRIC_NAMES, better, in_words, styled
from pages.parts.shared.run import BY_VERSION
from pages.parts.shared.text import SURROGATE, plain

MAX_NAMED = 6
VIEWS = {"half": "The half to choose by", "all": "All images"}
ON_HALF = (
    "Percent, of the calibration images and one half of each set of unfamiliar images: choose a "
    "detector by these figures, on the Thresholds page, and its counts are then of other images."
)
ON_ALL = (
    "Percent, of all images, with the 95 % interval in brackets. They describe detectors that were "
    "named beforehand; the best of many is flattered by the images that showed it."
)


@st.fragment
def table(run: Run) -> None:
    """Choose a measure, compare every detector; redraws alone."""
    st.header("Every detector", anchor=False)
    left, right = st.columns(2, vertical_alignment="bottom")
    metric = left.selectbox(
        "Measure",
        list(METRIC_NAMES),
        format_func=METRIC_NAMES.__getitem__,
        key="results_metric",
        bind="query-params",
    )
    cells, on = _shown_cells(run, metric, right)
    st.dataframe(
        styled(cells, metric),
        key="results_table",
        placeholder="–",
        height=_height(run),
        alt=f"{METRIC_NAMES[metric]}, for every detector and every OOD set.",
        column_config={
            "_index": st.column_config.TextColumn(width=_index_width(run)),
            MEAN: st.column_config.NumberColumn("mean of the sets"),
        },
    )
    st.caption(
        f"{MEANINGS[metric]} {better(metric)} is better, and shaded more strongly. {on} Click a "
        "heading to sort."
    )
    if run.inverted:
        st.caption(
            "Points the wrong way: unfamiliar images, or the surrogate images that stand for "
            "them, score lower than familiar images.",
            help=SURROGATE,
        )
    if "turned" in run.directions.values():
        st.caption(
            "Direction flipped: on surrogate images the published direction pointed the wrong way.",
            help=SURROGATE,
        )
    if run.excused:
        st.markdown("**Left out**")
        reasons = pd.DataFrame({"Why": dict(run.excused)}).rename_axis("Detector")
        st.dataframe(reasons, key="results_excused", alt="Detectors that were left out, and why.")
    _who_wins(run, metric)
    try:
        st.markdown(plain(_favourite(run)))
    except GscError as error:
        st.warning(plain(str(error)))


@st.cache_data(
    max_entries=64, show_spinner="Comparing the best with the default…", hash_funcs=BY_VERSION
)
def _favourite(run: Run) -> str:
    return favourite_sentence(run)


def _who_wins(run: Run, metric: str) -> None:
    st.header("Which detector is best where", anchor=False)
    alone = len(run.ood_sets) == 1
    found = [winner for winner in winners(run, metric) if not (alone and winner.ood_set == MEAN)]
    lines = pd.DataFrame(
        {
            "Unfamiliar images": [
                "mean of the sets" if w.ood_set == MEAN else w.ood_set for w in found
            ],
            "Best": [called(run, w.best.detector) for w in found],
            "Measured": [in_words(w.best.metrics[metric]) for w in found],
            "Not shown to differ": [_level(w) for w in found],
        }
    )
    st.dataframe(
        lines,
        hide_index=True,
        key="results_winners",
        alt="The best detector on each OOD set, and those that are about as good.",
        column_config={
            "Not shown to differ": st.column_config.TextColumn(
                help="Detectors that a paired test on the same images, corrected for all pairs "
                "(Holm), does not tell from the best one."
            )
        },
    )
    sets = [winner.best.detector for winner in found if winner.ood_set != MEAN]
    if len(sets) > 1 and len(set(sets)) > 1:
        st.caption(
            f"No detector is best everywhere: {len(set(sets))} different ones win on the "
            f"{len(sets)} sets of unfamiliar images."
        )


def _level(winner: Winner) -> str:
    others = winner.of - 1
    if winner.level is None:
        return "not tested"
    if not winner.level:
        return f"none of the other {others}" if others else "there is no other"
    named = ", ".join(winner.level[:MAX_NAMED])
    more = len(winner.level) - MAX_NAMED
    return f"{len(winner.level)} of {others}: {named}{f' and {more} more' if more > 0 else ''}"


def _shown_cells(run: Run, metric: str, place: DeltaGenerator) -> tuple[pd.DataFrame, str]:
    """The figures on the images that are asked for, and which images those are."""
    view = place.segmented_control(
        "Judged on",
        list(VIEWS),
        default="half",
        required=True,
        format_func=VIEWS.__getitem__,
        key="results_judged_on",
        bind="query-params",
        help="A detector that is picked by figures is judged on images that had no part in them: "
        "one half of each set of unfamiliar images is to choose by, the other half then counts.",
    )
    if view == "half":
        try:
            return _on_half(run, metric), ON_HALF
        except GscError as error:
            st.warning(plain(str(error)))
    return _cells(run, metric), ON_ALL


def _on_half(run: Run, metric: str) -> pd.DataFrame:
    """The share of each detector on the half to choose by, best mean first."""
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    found = sorted(picking.candidates(run), key=lambda one: sign * one.by_set[MEAN][metric])
    return pd.DataFrame(
        {c: [one.by_set[c][metric] for one in found] for c in _columns(run)},
        index=pd.Index([_shown(run, one.detector) for one in found], name="Detector"),
        dtype=object,
    )


def _cells(run: Run, metric: str) -> pd.DataFrame:
    """`Interval` of each detector (rows, best mean first) on the mean and each set (columns)."""
    held = {(row.detector, row.ood_set): row.metric(metric) for row in run.rows}
    means = {d: mean.value for d in run.detectors if (mean := held.get((d, MEAN))) is not None}
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    ranked = sorted(run.detectors, key=lambda d: (d not in means, sign * means.get(d, 0)))
    return pd.DataFrame(
        {c: [held.get((d, c)) for d in ranked] for c in _columns(run)},
        index=pd.Index([_shown(run, d) for d in ranked], name="Detector"),
        dtype=object,
    )


def _columns(run: Run) -> tuple[str, ...]:
    """The mean and each set; of one set the mean says nothing of its own."""
    return (MEAN, *run.ood_sets) if len(run.ood_sets) > 1 else run.ood_sets


def _index_width(run: Run) -> int:
    """Pixels for the longest detector name, with room left for numbers on a phone."""
    longest = max(len(_shown(run, detector)) for detector in run.detectors)
    return min(40 + 7 * longest, 260)


def _shown(run: Run, detector: str) -> str:
    """Its short name and what to know of it, then its title: what a narrow column can cut."""
    notes = ["default"] if detector == decisions.default_detector(run) else []
    notes += ["points the wrong way"] if detector in run.inverted else []
    notes += ["direction flipped"] if run.directions.get(detector) == "turned" else []
    name = f"{detector} ({', '.join(notes)})" if notes else detector
    title = title_of(run, detector)
    return name if title.lower() == detector.lower() else f"{name} · {title}"


def _height(run: Run) -> Literal["content"] | int:
    """All rows when they fit on a screen, else a table that scrolls."""
    return "content" if len(run.detectors) <= 30 else 720
