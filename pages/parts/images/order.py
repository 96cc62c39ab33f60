"""Which images of a run are shown, and in what order: the choices, kept in the address."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from gsc_core.run import decisions, gallery
from gsc_core.run.gallery import Side
from gsc_core.run.marks import Mark, by_row
from gsc_core.run.mistakes import Mistakes, mistakes
from gsc_core.run.placement import decision_for, predicted_classes
from gsc_core.run.stored import Run
from pages.parts.shared.image_grid import SIZES, Size
from pages.parts.shared.only import named_rows

EVERY_SET, EVERY_CLASS = "", -1  # no set may be named so, no class numbered so
SETS = {
    EVERY_SET: "All test images",
    "id": "Familiar images",
    "calibration": "Calibration images",
}
SHOW, _PICKED = "images_show", "images_picked"  # in the address, and of the widget
ALL, MISSED, ALARMS, MARKED = "all", "missed", "alarms", "marked"
SHOWS = {ALL: "All images", MISSED: "Missed", ALARMS: "False alarms", MARKED: "Marked"}
SIDES: dict[str, Side | None] = {"all": None, "flagged": "outside", "let through": "inside"}
OF_SHOW: dict[str, Side | None] = {MISSED: "inside", ALARMS: "outside"}
SIDE_NAMES = {"all": "Both sides", "flagged": "Flagged", "let through": "Accepted"}
ORDERS = {"strangest": "Least familiar first", "familiar": "Most familiar first"}
MEANINGS = {
    MISSED: "Unfamiliar images that are accepted, the most familiar looking first.",
    ALARMS: "Familiar images that are flagged, the least familiar looking first.",
    MARKED: "Images that somebody marked, the least familiar looking first.",
}


@dataclass(frozen=True)
class Order:
    """The row numbers to show, by which detector, its threshold, and the marks by row."""

    rows: NDArray[np.intp]
    detector: str
    threshold: float
    show: str
    size: Size
    marks: Mapping[int, Mark]


def order(run: Run) -> Order:
    """Ask what to show, by which detector, of which set and class; raises GscError as `ordered`.

    Where the address names the images, nothing is asked.
    """
    if (only := named_rows(run)) is not None:
        standing = decisions.current(run)
        return Order(only, standing.detector, standing.value, ALL, SIZES["medium"], by_row(run))
    first = st.container(horizontal=True, horizontal_alignment="distribute", gap="medium")
    controls = st.columns([3, 3, 3, 3])
    deciding = run.detectors.index(decisions.current(run).detector)
    detector = controls[0].selectbox(
        "Sorted by",
        run.detectors,
        index=deciding,
        format_func=lambda name: f"{name} (points the wrong way)" if name in run.inverted else name,
        key="images_detector",
        bind="query-params",
        help="The detector whose outlier score sorts the images; a higher score is less familiar. "
        "Points the wrong way: with it, unfamiliar images score lower than familiar ones.",
    )
    decision, marks = decision_for(run, detector), by_row(run)
    wrong = mistakes(run, decision)
    with first:
        show = _show(wrong, len(marks))
        titles = {name: size.title for name, size in SIZES.items()}
        size = _segments("Size of the images", titles, "images_size", usual="medium")
    of_set = controls[1].selectbox(
        "From",
        [EVERY_SET, "id", *run.ood_sets, "calibration"],
        format_func=set_name,
        key="images_set",
        bind="query-params",
        help="Calibration images taught the detectors what is familiar; they are not tested.",
    )
    predicted = controls[2].selectbox(
        "Classified as",
        [EVERY_CLASS, *predicted_classes(run)],
        format_func=lambda c: "any class" if c == EVERY_CLASS else gallery.class_name(run, c),
        key="images_class",
        bind="query-params",
        help="What the model says the image shows.",
    )
    named = controls[3].text_input(
        "File name",
        key="images_name",
        bind="query-params",
        max_chars=200,
        placeholder="any part of it",
        icon=":material/search:",
    )
    direction, side = "strangest", "all"
    if show == ALL:
        with st.container(horizontal=True, gap="medium"):
            direction = _segments("Order", ORDERS, "images_order")
            side = _segments("Side of the threshold", SIDE_NAMES, "images_side")
    rows = gallery.ordered(
        run,
        detector,
        sets=_sets(run, show, of_set),
        predicted=None if predicted == EVERY_CLASS else predicted,
        threshold=decision.value,
        side=OF_SHOW.get(show, SIDES[side]),
        descending=show != MISSED and direction == "strangest",
        named=named.strip(),
    )
    if show == MARKED:
        rows = rows[np.isin(rows, [*marks])]
    return Order(rows, detector, decision.value, show, SIZES[size], marks)


def _show(wrong: Mistakes, marked: int) -> str:
    """What to show first: mistakes are why one looks at images."""
    counts = {MISSED: len(wrong.missed), ALARMS: len(wrong.false_alarms), MARKED: marked}
    names = {
        show: f"{title} ({counts[show]:,})" if show in counts else title
        for show, title in SHOWS.items()
    }
    # Bound by hand: the address would hold the words of a choice, and these have counts in them.
    asked = st.query_params.get(SHOW, ALL)
    st.session_state[_PICKED] = asked if asked in SHOWS else ALL
    st.segmented_control(
        "Show",
        list(names),
        required=True,
        format_func=names.__getitem__,
        key=_PICKED,
        on_change=_keep,
        label_visibility="collapsed",
        wrap=True,
    )
    return str(st.session_state[_PICKED])


def _keep() -> None:
    st.query_params[SHOW] = str(st.session_state[_PICKED])


def _sets(run: Run, show: str, of_set: str) -> list[str] | None:
    """The sets of the choices; None for all test images."""
    if show == ALL:
        return None if of_set == EVERY_SET else [of_set]
    every = {
        MISSED: [*run.ood_sets],
        ALARMS: ["id"],
        MARKED: list(run.members().by_name),
    }[show]
    return [name for name in every if of_set in (EVERY_SET, name)]


def set_name(name: str) -> str:
    """A set as a reader calls it."""
    return SETS.get(name, name)


def _segments(label: str, options: dict[str, str], key: str, usual: str | None = None) -> str:
    usual = usual or next(iter(options))
    chosen: str | None = st.segmented_control(
        label,
        list(options),
        default=usual,
        required=True,
        format_func=options.__getitem__,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen or usual  # an empty value in the address chooses nothing
