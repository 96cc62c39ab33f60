"""One image that a person tried: whether it is accepted or flagged, and why."""

import streamlit as st

from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import called
from gsc_core.workspace.explanations import Tried
from pages.parts.images.explanation import (
    channels,
    depths,
    neighbours,
    picture_seen,
    places_table,
    told_apart,
    why,
)
from pages.parts.shared.text import plain


def one(run: Run, found: Tried) -> None:
    """Show the verdict with its reason, then what the network made of the image."""
    _verdict(run, found)
    left, right = st.columns([2, 3], gap="large")
    with left:
        picture_seen(found)
    with right:
        st.caption(plain(found.name))
        why(run, found, None)
    channels(found)
    first = found.decision.detector
    places_table(sorted(found.places, key=lambda place: place.detector != first))
    depths(found)
    neighbours(run, found)


def _verdict(run: Run, found: Tried) -> None:
    place = found.verdict
    if place is None or place.threshold is None:
        st.warning("Undecided: the deciding detector has no score or no threshold for it.")
        return
    score, threshold = told_apart(place.score, place.threshold)
    reason = (
        f"{called(run, place.detector)} scores it {score}; {place.share_below} of the familiar "
        f"images score no higher, and the threshold is {threshold}."
    )
    if place.outside:
        st.error(
            f"**Flagged**: unlike what this model was made for. {plain(reason)}",
            icon=":material/block:",
        )
    else:
        st.success(
            f"**Accepted**: like what this model was made for. {plain(reason)}",
            icon=":material/check:",
        )
