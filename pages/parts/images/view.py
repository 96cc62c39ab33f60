"""One image of a run: what the model says, what the detectors say, and why."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import percent
from gsc_core.images.thumbnails import thumbnail
from gsc_core.jobs import queue
from gsc_core.run import gallery
from gsc_core.run.contributions import contributions
from gsc_core.run.gallery import RunImage
from gsc_core.run.marks import Mark
from gsc_core.run.placement import Placement, places_of
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import explanations
from gsc_core.workspace.explanations import StoredExplanation
from pages.parts.images.explanation import (
    channels,
    depths,
    neighbours,
    number,
    parts_of_score,
    picture_seen,
    places_table,
    told_apart,
    why,
)
from pages.parts.images.marking import mark_bar, mark_words, said
from pages.parts.images.order import order, set_name
from pages.parts.shared.class_names import ask_for_names
from pages.parts.shared.job import job_progress
from pages.parts.shared.text import plain

SIDE = 512  # pixels of the image before a worker has looked at it


def image_view(run: Run, asked: str) -> None:
    """Show the row that the address names; one that is not the run's is a sentence."""
    try:
        row = _row(asked)
        (picture,) = gallery.run_images(run, [row])
    except GscError as error:
        st.error(plain(str(error)))
        _to_all(None, 1)
        return
    marks = _ways(run, row)
    found = places_of(run, row)
    st.title(plain(_headline(picture, found[0])), anchor=False)
    st.markdown(plain(_reason(found[0])))
    _marking(run, row, marks)
    left, right = st.columns([2, 3], gap="large")
    with right:
        st.caption(plain(f"{picture.file} · {set_name(_set(picture))}"))
        try:
            explanation = _explained(run, picture)
        except GscError as error:  # the rest of the page does not hang on it
            st.warning(plain(str(error)))
            explanation = None
    with left:
        if explanation is None:
            _picture(run, picture)
        else:
            picture_seen(explanation)
    ask_for_names(run)
    if explanation is not None:
        channels(explanation)
    places_table(found)
    parts_of_score(found[0].detector, contributions(run, found[0].detector, row))
    if explanation is not None:
        depths(explanation)
        neighbours(run, explanation)


def _marking(run: Run, row: int, marks: Mapping[int, Mark]) -> None:
    """What people said of the image, and a way to say something."""
    if row in marks:
        st.info(plain(mark_words(run, marks[row])), icon=":material/flag:")
    said(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        mark_bar(run, [row], marks)


def _row(asked: str) -> int:
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise GscError("An image is named by its number: choose one from the gallery.")
    return int(asked)


def _ways(run: Run, row: int) -> Mapping[int, Mark]:
    """Back to the gallery, and on to its neighbours there; gives the marks of the run."""
    buttons = st.container(horizontal=True, vertical_alignment="center")
    with st.expander("The gallery's order and filters", key="images_filters"):
        chosen = order(run)
    rows = chosen.rows.whole
    at = np.flatnonzero(rows == row)
    place = int(at[0]) if len(at) else None
    with buttons:
        _to_all(place, chosen.size.on_a_page)
        for label, key, step, icon, shortcut in (
            ("Previous", "images_previous", -1, ":material/arrow_back:", "Left"),
            ("Next", "images_next", 1, ":material/arrow_forward:", "Right"),
        ):
            to = None if place is None else place + step
            there = to is not None and 0 <= to < len(rows)
            st.button(
                label,
                key=key,
                icon=icon,
                shortcut=shortcut,
                disabled=not there,
                on_click=_go,
                args=(int(rows[to]) if there and to is not None else row,),
            )
        if place is None:
            st.caption("Not among the filtered images.")
        else:
            st.caption(f"{place + 1:,} of {len(rows):,}")
    return chosen.marks


def _to_all(place: int | None, on_a_page: int) -> None:
    st.button(
        "All images",
        key="images_all",
        icon=":material/grid_view:",
        on_click=_back,
        args=(place, on_a_page),
    )


def _go(row: int) -> None:
    st.query_params["image"] = str(row)


def _back(place: int | None, on_a_page: int) -> None:
    st.query_params.pop("image", None)
    st.query_params["images_page"] = str(1 if place is None else place // on_a_page + 1)


def _headline(picture: RunImage, place: Placement) -> str:
    kind = {"id": "A familiar image", "calibration": "A calibration image"}.get(
        picture.role, f"An unfamiliar image from {picture.set}"
    )
    verdict, right = ("flagged", "ood") if place.outside else ("accepted", "id")
    mistake = {"id": ": a false alarm", "ood": ": missed"}.get(picture.role, "")
    return f"{kind}, {verdict}{'' if picture.role == right else mistake}"


def _reason(place: Placement) -> str:
    below = f"{place.share_below} of the familiar images score no higher"
    if place.threshold is None:
        score = number(place.score)
        return (
            f"{place.detector} scores it {score}; {below}, but there are too few calibration "
            "images to set an alarm."
        )
    score, threshold = told_apart(place.score, place.threshold)
    side = "above" if place.outside else "not above"
    return f"{place.detector} scores it {score}, {side} the threshold of {threshold}; {below}."


def _set(picture: RunImage) -> str:
    return picture.set if picture.role == "ood" else picture.role


def _picture(run: Run, picture: RunImage) -> None:
    try:
        path = gallery.image_path(run, picture.role, picture.set, picture.file)
        data = _large(str(path), path.stat().st_mtime_ns)
        st.image(data, alt=f"The image {picture.file}", width="stretch")
    except (GscError, OSError) as error:
        st.warning(plain(str(error)))


@st.cache_data(max_entries=64, show_spinner=False)
def _large(path: str, version: int) -> bytes:
    return thumbnail(Path(path), SIDE)


def _explained(run: Run, picture: RunImage) -> StoredExplanation | None:
    """What the model says before and after; while a worker looks, how far it is."""
    able = explanations.explainers(run)
    detector = able[0]
    if len(able) > 1:
        detector = st.selectbox(
            "Explained by", able, key="images_explainer", bind="query-params", width=280
        )
    found = explanations.explanation(run.id, picture.row, detector)
    if found is not None:
        why(run, found, picture.label)
        return found
    seen = gallery.class_name(run, picture.predicted)
    st.markdown(plain(f"The model calls it {seen} and is {percent(picture.confidence, 0)} sure."))
    _progress(run, picture, detector)
    return None


def _progress(run: Run, picture: RunImage, detector: str) -> None:
    """Ask for the explanation once; after a cancel, only on request."""
    mark = f"images_asked_{run.id}_{picture.row}_{detector}"
    job = explanations.asked(run.id, picture.row, detector)
    if job is None:
        if not acting.permits(Action.START):
            st.caption("It has not been explained yet: an auditor can ask for that.")
            return
        again = mark in st.session_state
        if again and not st.button("Explain this image", key="images_explain"):
            return
        explanations.ask(run.id, picture.row, detector)
        job = explanations.asked(run.id, picture.row, detector)
    st.session_state[mark] = True
    if job is not None:
        if job.state in queue.WAITING:
            st.caption("Looking inside the network; the first image takes about ten seconds.")
        job_progress(job.id, "images_job")
