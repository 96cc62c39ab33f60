"""Which images of a run are shown, and in what order: the choices, kept in the address."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from gsc_core.run import decisions, gallery
from gsc_core.run.gallery import Side
from gsc_core.run.placement import decision_for, predicted_classes
from gsc_core.run.stored import Run
from pages.parts.shared.only import named_rows

EVERY_SET, EVERY_CLASS = "", -1  # no set may be named so, no class numbered so
SETS = {
    EVERY_SET: "All test images",
    "id": "Familiar images",
    "calibration": "Calibration images",
}
SIDES: dict[str, Side | None] = {"all": None, "flagged": "outside", "let through": "inside"}
SIDE_NAMES = {"all": "Both sides", "flagged": "Flagged", "let through": "Accepted"}
ORDERS = {"strangest": "Least familiar first", "familiar": "Most familiar first"}


@dataclass(frozen=True)
class Order:
    """The row numbers to show, by which detector, and its threshold."""

    rows: NDArray[np.intp]
    detector: str
    threshold: float


def order(run: Run) -> Order:
    """Ask for detector, direction, set, class and side; raises GscError as `ordered` does."""
    if (only := named_rows(run)) is not None:
        standing = decisions.current(run)
        return Order(only, standing.detector, standing.value)
    columns = st.columns([3, 3, 3])
    deciding = run.detectors.index(decisions.current(run).detector)
    detector = columns[0].selectbox(
        "Sorted by",
        run.detectors,
        index=deciding,
        format_func=lambda name: f"{name} (points the wrong way)" if name in run.inverted else name,
        key="images_detector",
        bind="query-params",
        help="The detector whose outlier score sorts the images; a higher score is less familiar. "
        "Points the wrong way: with it, unfamiliar images score lower than familiar ones.",
    )
    of_set = columns[1].selectbox(
        "From",
        [EVERY_SET, "id", *run.ood_sets, "calibration"],
        format_func=set_name,
        key="images_set",
        bind="query-params",
        help="Calibration images taught the detectors what is familiar; they are not tested.",
    )
    predicted = columns[2].selectbox(
        "Classified as",
        [EVERY_CLASS, *predicted_classes(run)],
        format_func=lambda c: "any class" if c == EVERY_CLASS else gallery.class_name(run, c),
        key="images_class",
        bind="query-params",
        help="What the model says the image shows.",
    )
    with st.container(horizontal=True, gap="medium"):
        direction = _segments("Order", ORDERS, "images_order")
        side = _segments("Side of the threshold", SIDE_NAMES, "images_side")
    decision = decision_for(run, detector)
    rows = gallery.ordered(
        run,
        detector,
        sets=None if of_set == EVERY_SET else [of_set],
        predicted=None if predicted == EVERY_CLASS else predicted,
        threshold=decision.value,
        side=SIDES[side],
        descending=direction == "strangest",
    )
    return Order(rows, detector, decision.value)


def set_name(name: str) -> str:
    """A set as a reader calls it."""
    return SETS.get(name, name)


def _segments(label: str, options: dict[str, str], key: str) -> str:
    usual = next(iter(options))
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
