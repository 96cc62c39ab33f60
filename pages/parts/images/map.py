"""The images on a map: near where the network finds them alike; an area opens its images."""

from collections.abc import Mapping

import streamlit as st

from gsc_core.charts.image_map import COLOURINGS, STEPS, Frame, image_map
from gsc_core.jobs import queue
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.features import has_features
from gsc_core.run.image_map import ImageMap, principal_map, stored_map
from gsc_core.run.stored import Run
from gsc_core.run.subsets import OnMap, Picked, Subset
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import maps
from pages.parts.images.hover import FILES, image_under_pointer
from pages.parts.shared.behind import behind
from pages.parts.shared.browser_part import browser_part
from pages.parts.shared.in_address import segments
from pages.parts.shared.job import job_progress
from pages.parts.shared.text import UNFAMILIAR

SHOWN = 12
MAX_SENT = 200  # corners of an area, as the browser draws it
MOST_STEPS = 100 * STEPS  # from the map's corner: an area may reach beyond its edges
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
    map_of = f"{run.id}, {run.version}, {'fine' if fine is not None else 'coarse'}"
    data = _drawing(str(run.path), run.version, fine is not None, colouring, decision, run)
    canvas = browser_part("image_map", FILES, "map.js", "map.css")
    said = canvas(
        data={**data, "run": f"{run.id}/", "label": _label(of), "generation": map_of},
        key="images_map",
        on_selected_change=lambda: None,  # without one that hears of it, no value comes
    )
    image_under_pointer(run)
    if fine is None:
        _finer(run)
    if (subset := selected(said.get("selected"), map_of, of, fine=fine is not None)) is not None:
        _show(run, subset)
    else:
        st.caption("Choose a point, or draw around some: their images appear here.")


def _label(of: ImageMap) -> str:
    return (
        f"Map of {len(of.rows):,} images, near where the network finds them alike. Arrow keys go "
        "from image to image, Enter opens one, plus and minus zoom."
    )


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
def _drawing(
    path: str, version: int, fine: bool, colouring: str, decision: Decision, _run: Run
) -> dict[str, object]:
    made = stored_map(_run) if fine else None
    of = principal_map(_run) if made is None else made
    return image_map(_run, of, decision, colouring).as_data()


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


def selected(said: object, map_of: str, of: ImageMap, *, fine: bool) -> Subset | None:
    """What is selected on the map that is shown: an area or a point.

    A browser may say anything: only what is on the map is taken from it.
    """
    if not isinstance(said, Mapping) or said.get("generation") != map_of:
        return None
    row, area = said.get("row"), said.get("area")
    if type(row) is int and row in of.rows:
        return Picked((row,))
    if (
        not isinstance(area, list)
        or not 3 <= len(area) <= MAX_SENT
        or not all(map(_is_place, area))
    ):
        return None
    x, y = zip(*Frame.of(of).places([(x, y) for x, y in area]), strict=True)
    return OnMap.area(fine, list(x), list(y))


def _is_place(corner: object) -> bool:
    return (
        isinstance(corner, list)
        and len(corner) == 2
        and all(type(each) in (int, float) and abs(each) <= MOST_STEPS for each in corner)
    )


def _show(run: Run, subset: Subset) -> None:
    rows = subset.rows(run)
    if not len(rows):
        st.caption("There is no image in that area.")
        return
    behind(run, subset, SHOWN)
