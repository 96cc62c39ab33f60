"""Drop an image, and learn whether it is accepted or flagged, and why."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.images import IMAGE_SUFFIXES
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, State
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import explanations
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
from pages.parts.shared.job import job_progress
from pages.parts.shared.received import received
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.text import plain

_REFUSED = "try_refused"


def try_one(run: Run) -> None:
    """Ask for an image, and show what was found of the one that the address names."""
    if not acting.permits(Action.ADD):
        st.caption(READS_ONLY)
        return
    st.title("Try an image of your own", anchor=False)
    st.file_uploader(
        "An image",
        type=sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES),
        key="try_file",
        on_change=_dropped,
        args=(run.id,),
        help="It stays on this server; the newest 50 are kept.",
    )
    if refused := st.session_state.pop(_REFUSED, None):
        st.error(plain(refused))
        return
    asked = st.query_params.get("try")
    if asked is None:
        st.caption("The answer takes about ten seconds for the first image, then about one.")
        return
    found = explanations.tried(run.id, asked)
    if found is not None:
        _answer(run, found)
    elif (job := _job(run, asked)) is not None and job.state is State.FAILED:
        st.error(plain(job.error or "It failed."))
        st.caption("Drop another image, or the same one once it is fixed.")
    elif job is not None:
        if job.state in queue.WAITING:
            st.caption("Looking at it; the first image takes about ten seconds.")
        job_progress(job.id, "try_job")
    else:
        st.info("That image is no longer stored: drop it again.")


def _dropped(run_id: str) -> None:
    """Hand the image to a worker, and put its id in the address: a refresh finds it again."""
    file = st.session_state.get("try_file")
    st.query_params.pop("try", None)
    if file is None:
        return
    try:
        job = explanations.ask_try(run_id, received(file), file.name)
        st.query_params["try"] = explanations.TryOrder.of(job).try_id
    except GscError as error:
        st.session_state[_REFUSED] = str(error)


def _job(run: Run, try_id: str) -> Job | None:
    jobs = queue.jobs(kinds=(Kind.TRY,), subject=run.id)
    return next((job for job in jobs if explanations.try_id(job) == try_id), None)


def _answer(run: Run, found: Tried) -> None:
    _verdict(found)
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


def _verdict(found: Tried) -> None:
    place = found.verdict
    if place is None or place.threshold is None:
        st.warning("Undecided: the deciding detector has no score or no threshold for it.")
        return
    score, threshold = told_apart(place.score, place.threshold)
    reason = (
        f"{place.detector} scores it {score}, as high as or higher than "
        f"{place.share_below} of the familiar images; the threshold is {threshold}."
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
