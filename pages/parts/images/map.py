"""The images on a map: near where the network finds them alike; an area opens its images."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from gsc_core.charts.image_map import COLOURINGS, image_map, rows_of_points
from gsc_core.jobs import queue
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.features import has_features
from gsc_core.run.image_map import ImageMap, principal_map, stored_map
from gsc_core.run.stored import Run
from gsc_core.run.subsets import MAX_PICKED, OnMap, Picked, Subset
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import maps
from pages.parts.images.hover import image_under_pointer
from pages.parts.shared.behind import behind
from pages.parts.shared.in_address import segments
from pages.parts.shared.job import job_progress
from pages.parts.shared.text import UNFAMILIAR

SHOWN = 12
BEFORE = (
    "This audit was made before the app kept what a map is drawn from: run it again to see one."
)


def map_view(run: Run) -> None:
    """The map, coloured by choice, and the images of the area that is selected on it."""
    st.title("The images on a map", anchor=False)
    if not has_features(run):
        st.info(BEFORE)
        return
    fine = stored_map(run)
    of = principal_map(run) if fine is None else fine
    colouring = segments("Coloured by", COLOURINGS, "images_colouring", labelled=True)
    st.caption(_about(run, of, fine is not None), help=UNFAMILIAR)
    decision = decisions.current(run)
    key = f"images_map_{'fine' if fine is not None else 'coarse'}_{colouring}"
    event = st.plotly_chart(
        _figure(str(run.path), run.version, fine is not None, colouring, decision, run),
        key=key,
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        config={"displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["autoScale"]},
        alt=f"A point for each of {len(of.rows):,} images, near where the network finds them alike",
    )
    image_under_pointer(run, key)
    if fine is None:
        _finer(run)
    if (subset := selected(event.selection, fine is not None)) is not None:
        _show(run, subset)
    else:
        st.caption("Choose a point, or draw around some: their images appear here.")


def _about(run: Run, of: ImageMap, fine: bool) -> str:
    total = sum(map(len, run.members().by_name.values()))
    some = (
        f"All {total:,} images"
        if len(of.rows) == total
        else f"{len(of.rows):,} of {total:,} images, of each set as many"
    )
    how = (
        "Images that the network finds alike lie together; how far groups are from each other "
        "means little."
        if fine
        else "A first sketch, along the two directions in which the images differ most."
    )
    return f"{some}. {how}"


@st.cache_data(max_entries=32, show_spinner="Drawing the map…")
def _figure(
    path: str, version: int, fine: bool, colouring: str, decision: Decision, _run: Run
) -> go.Figure:
    made = stored_map(_run) if fine else None
    of = principal_map(_run) if made is None else made
    return image_map(_run, of, decision, colouring)


def _finer(run: Run) -> None:
    """Ask for the finer map once; after a cancel, only on request."""
    mark = f"images_map_asked_{run.id}"
    job = maps.asked(run)
    if job is None:
        if not acting.permits(Action.START):
            return
        again = mark in st.session_state
        if again and not st.button("Arrange by likeness", key="images_map_ask"):
            return
        maps.ask(run)
        job = maps.asked(run)
    st.session_state[mark] = True
    if job is not None:
        if job.state in queue.WAITING:
            st.caption("A finer arrangement is being made; it takes up to a minute.")
        job_progress(job.id, "images_map_job")


def selected(selection: Mapping[str, Any], fine: bool) -> Subset | None:
    """What is selected: the area where one was drawn, else the points."""
    for area in (*selection.get("lasso", ()), *selection.get("box", ())):
        x, y = list(area["x"]), list(area["y"])
        if len(x) == 2:  # two corners of a box
            x, y = [x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]]
        if len(x) >= 3:
            return OnMap.area(fine, x, y)
    rows = rows_of_points(selection.get("points", ()))
    return Picked(tuple(rows[:MAX_PICKED])) if rows else None


def _show(run: Run, subset: Subset) -> None:
    rows = subset.rows(run)
    if not len(rows):
        st.caption("There is no image in that area.")
        return
    behind(run, subset, SHOWN)
