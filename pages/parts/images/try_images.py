"""Drop images, one or many, and learn which are accepted and which are flagged, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.images import IMAGE_SUFFIXES
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, State
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import explanations, tried_images
from gsc_core.workspace.explanations import TryOrder
from gsc_core.workspace.tried_images import MAX_IMAGES, TryManyOrder
from pages.parts.images.order import TRY, VIEW
from pages.parts.images.try_many import many, open_one
from pages.parts.images.try_one import one
from pages.parts.shared.job import job_progress
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.received import received
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.text import plain

SHOWN = 12  # of the images that are waited for
_REFUSED = "try_refused"


def try_images(run: Run) -> None:
    """Ask for images, and show what was found of those that the address names."""
    if not acting.permits(Action.ADD):
        st.caption(READS_ONLY)
        return
    st.title("Try images of your own", anchor=False)
    st.file_uploader(
        "One image, several, or a ZIP of them",
        type=["zip", *sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)],
        accept_multiple_files=True,
        key="try_file",
        on_change=_dropped,
        args=(run.id,),
        help=f"At most {MAX_IMAGES} at once. They stay on this server; the newest 50 tries are "
        "kept.",
    )
    if refused := st.session_state.pop(_REFUSED, None):
        st.error(plain(refused))
        return
    asked = st.query_params.get("try")
    if asked is None:
        st.caption("The answer takes about ten seconds for the first image, then about one each.")
        return
    _found(run, asked)


def _found(run: Run, asked: str) -> None:
    """What was found, else how far it is."""
    if (found := explanations.tried(run.id, asked)) is not None:
        if before := st.query_params.get("from"):
            st.button(
                "All tried images",
                key="try_all",
                icon=":material/arrow_back:",
                on_click=_back,
                args=(before,),
            )
        one(run, found)
    elif (several := tried_images.tried_images(run.id, asked)) is not None:
        name = st.query_params.get("one")
        if name is None:
            many(run, asked, several)
        else:
            open_one(run, asked, name)
    elif (job := _job(run, asked)) is not None and job.state is State.FAILED:
        st.error(plain(job.error or "It failed."))
        st.caption("Drop another image, or the same one once it is fixed.")
    elif job is not None:
        _waited_for(run, asked, job)
    else:
        st.info("These images are no longer stored: drop them again.")


def _back(try_id: str) -> None:
    """From one of many to all of them."""
    st.query_params["try"] = try_id
    st.query_params.pop("from", None)


def _waited_for(run: Run, asked: str, job: Job) -> None:
    if job.state in queue.WAITING:
        st.caption("Looking at it; the first image takes about ten seconds.")
    job_progress(job.id, "try_job")
    if job.kind is Kind.TRY:
        files = [explanations.waiting_file(run, asked)]
    else:
        files = list(tried_images.waiting_files(run, asked, SHOWN))
    name = TryOrder.of(job).file_name if job.kind is Kind.TRY else None
    picture_grid([_tile(path, name or path.name) for path in files if path.is_file()])


def _tile(path: Path, name: str) -> Tile:
    return Tile(path, name, f"{name}, not judged yet")


def _dropped(run_id: str) -> None:
    """Hand the images to a worker, and put their id in the address: a refresh finds them again."""
    files = st.session_state.get("try_file") or []
    st.query_params[VIEW] = TRY  # else it would be the gallery once nothing is tried
    for key in ("try", "one", "from"):
        st.query_params.pop(key, None)
    if not files:
        return
    streams = [(file.name, received(file)) for file in files]
    try:
        st.query_params["try"] = _asked(run_id, streams)
    except GscError as error:
        st.session_state[_REFUSED] = str(error)


def _asked(run_id: str, streams: Sequence[tuple[str, BinaryIO]]) -> str:
    """The id of the try; a single image is explained as well."""
    (name, stream), *others = streams
    if others or Path(name).suffix.lower() == ".zip":
        return tried_images.ask_many(run_id, streams)
    return TryOrder.of(explanations.ask_try(run_id, stream, name)).try_id


def _job(run: Run, try_id: str) -> Job | None:
    for job in queue.jobs(kinds=(Kind.TRY, Kind.TRY_MANY), subject=run.id):
        order = TryOrder.read(job) or TryManyOrder.read(job)
        if order is not None and order.try_id == try_id:
            return job
    return None
