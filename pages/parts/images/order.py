"""Which images of a run are shown, and in what order: the choices, kept in the address."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from gsc_core.run import decisions, gallery
from gsc_core.run.gallery import InOrder, Side, Wanted
from gsc_core.run.marks import Mark
from gsc_core.run.mistakes import Mistakes, mistakes
from gsc_core.run.placement import decision_for, predicted_classes
from gsc_core.run.stored import Run
from pages.parts.images.marking import readable_marks
from pages.parts.shared.image_grid import SIZES, Size
from pages.parts.shared.in_address import dropdown, segments, typed
from pages.parts.shared.only import named_rows

EVERY_SET, EVERY_CLASS = "", -1  # no set may be named so, no class numbered so
SETS = {
    EVERY_SET: "All test images",
    "id": "Familiar images",
    "calibration": "Calibration images",
}
VIEW, SHOW = "images_view", "images_show"  # in the address
GALLERY, MAP, TRY = "gallery", "map", "try"
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

    rows: InOrder
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
        marks = readable_marks(run)
        return Order(
            InOrder.of(only), standing.detector, standing.value, ALL, SIZES["medium"], marks
        )
    first = st.container(horizontal=True, horizontal_alignment="distribute", gap="medium")
    controls = st.columns([3, 3, 3, 3])
    with controls[0]:
        detector = dropdown(
            "Sorted by",
            run.detectors,
            lambda name: f"{name} (points the wrong way)" if name in run.inverted else name,
            "images_detector",
            usual=decisions.current(run).detector,
            help="The detector whose outlier score sorts the images; a higher score is less "
            "familiar. Points the wrong way: with it, unfamiliar images score lower than familiar "
            "ones.",
        )
    decision, marks = decision_for(run, detector), readable_marks(run)
    wrong = mistakes(run, decision)
    with first:
        show = _show(wrong, len(marks))
        titles = {name: size.title for name, size in SIZES.items()}
        size = segments("Size of the images", titles, "images_size", usual="medium")
    with controls[1]:
        of_set = dropdown(
            "From",
            [EVERY_SET, "id", *run.ood_sets, "calibration"],
            set_name,
            "images_set",
            usual=EVERY_SET,
            help="Calibration images taught the detectors what is familiar; they are not tested.",
        )
    with controls[2]:
        predicted = dropdown(
            "Classified as",
            [EVERY_CLASS, *predicted_classes(run)],
            lambda c: "any class" if c == EVERY_CLASS else gallery.class_name(run, c),
            "images_class",
            usual=EVERY_CLASS,
            help="What the model says the image shows.",
        )
    with controls[3]:
        named = typed(
            "File name",
            "images_name",
            longest=200,
            placeholder="any part of it",
            icon=":material/search:",
        )
    direction, side = "strangest", "all"
    if show == ALL:
        with st.container(horizontal=True, gap="medium"):
            direction = segments("Order", ORDERS, "images_order")
            side = segments("Side of the threshold", SIDE_NAMES, "images_side")
    at = OF_SHOW.get(show, SIDES[side])
    wanted = Wanted(
        sets=_sets(run, show, of_set),
        predicted=None if predicted == EVERY_CLASS else predicted,
        threshold=None if at is None else decision.value,
        side=at,
        descending=show != MISSED and direction == "strangest",
        named=named,
    )
    rows = gallery.in_order(run, detector, wanted)
    if show == MARKED:
        rows = InOrder.of(rows.whole[np.isin(rows.whole, [*marks])])
    return Order(rows, detector, decision.value, show, SIZES[size], marks)


def _show(wrong: Mistakes, marked: int) -> str:
    """What to show first: mistakes are why one looks at images."""
    counts = {MISSED: wrong.missed, ALARMS: wrong.false_alarms, MARKED: marked}
    names = {
        show: f"{title} ({counts[show]:,})" if show in counts else title
        for show, title in SHOWS.items()
    }
    return segments("Show", names, SHOW)


def _sets(run: Run, show: str, of_set: str) -> tuple[str, ...] | None:
    """The sets of the choices; None for all test images."""
    if show == ALL:
        return None if of_set == EVERY_SET else (of_set,)
    every = {
        MISSED: [*run.ood_sets],
        ALARMS: ["id"],
        MARKED: list(run.members().by_name),
    }[show]
    return tuple(name for name in every if of_set in (EVERY_SET, name))


def set_name(name: str) -> str:
    """A set as a reader calls it."""
    return SETS.get(name, name)
