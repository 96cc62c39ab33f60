"""Many images that a person tried: what is flagged, what is accepted, and a table to take along."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.counts import percent
from gsc_core.run import gallery
from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import called
from gsc_core.workspace import explanations, tried_images
from gsc_core.workspace.explanations import TryOrder
from gsc_core.workspace.tried_images import TriedImages, Verdict
from pages.parts.images.order import TRY, VIEW
from pages.parts.shared.download import logged
from pages.parts.shared.pictures import MOST, Tile, picture_grid
from pages.parts.shared.text import plain

MARKS = {"flagged": "▲", "accepted": "✓", "undecided": "?"}
EVERY = "all"


def many(run: Run, try_id: str, found: TriedImages) -> None:
    """Show how many are flagged, and each image with its verdict, the least familiar first."""
    every = tried_images.verdicts(run, found)
    counts = Counter(one.word for one in every)
    st.markdown(plain(_in_words(run, every, counts)))
    with st.container(horizontal=True, vertical_alignment="center"):
        side = _side(counts)
        st.download_button(
            "Download as CSV",
            logged(partial(tried_images.as_csv, run, found), "try", run.id, "tried-images.csv"),
            file_name="tried-images.csv",
            mime="text/csv",
            key="try_csv",
            on_click="ignore",
            icon=":material/download:",
            help="One row an image: its decision, class, and every detector's outlier score.",
        )
    shown = [one for one in every if side in (EVERY, one.word)]
    pages = -(-len(shown) // MOST)
    st.caption("▲ flagged, ✓ accepted, and what the model calls it. Choose one to see why.")
    place = st.container()
    page = st.pagination(pages, key="try_page") if pages > 1 else 1
    with place:
        picture_grid([_tile(run, try_id, one) for one in shown[(page - 1) * MOST : page * MOST]])
    _left_out(found)


def open_one(run: Run, try_id: str, name: str) -> None:
    """Have one of many explained: it becomes a try of its own, to which the address then leads."""
    try:
        with tried_images.image_file(run, try_id, name).open("rb") as file:
            job = explanations.ask_try(run.id, file, name)
    except OSError as error:
        raise GscError("This image is no longer stored: drop it again.") from error
    st.query_params["from"] = try_id
    st.query_params["try"] = TryOrder.of(job).try_id
    st.query_params.pop("one", None)
    st.rerun()


def _in_words(run: Run, every: Sequence[Verdict], counts: Counter[str]) -> str:
    detector = every[0].place.detector if every and every[0].place else None
    by = f" by {called(run, detector)}" if detector else ""
    are = "is" if counts["flagged"] == 1 else "are"
    text = f"{counts['flagged']:,} of {len(every):,} images {are} flagged{by}."
    if counts["undecided"]:
        text += f" {counts['undecided']:,} are undecided: there is no score or no threshold."
    return text


def _side(counts: Counter[str]) -> str:
    names = {EVERY: "All", "flagged": "Flagged", "accepted": "Accepted"}
    numbers = {EVERY: counts.total()} | counts
    chosen: str | None = st.segmented_control(
        "Which are shown",
        list(names),
        default=EVERY,
        required=True,
        format_func=lambda one: f"{names[one]} ({numbers.get(one, 0):,})",
        key="try_side",
        label_visibility="collapsed",
    )
    return chosen or EVERY


def _tile(run: Run, try_id: str, one: Verdict) -> Tile:
    image = one.image
    seen = gallery.class_name(run, image.predicted)
    said = f"called {seen}, {percent(image.confidence, 0)} sure, {one.word}"
    if one.place is not None:
        said += f"; {one.place.share_below} of the familiar images score no higher"
    return Tile(
        tried_images.image_file(run, try_id, image.name),
        f"{MARKS[one.word]} {seen}",
        f"{image.name}, {said}",
        ("images", {"run": run.id, VIEW: TRY, "try": try_id, "one": image.name}),
    )


def _left_out(found: TriedImages) -> None:
    if found.duplicates:
        st.caption(f"{found.duplicates:,} copies were judged once.")
    if not found.unread:
        return
    with st.expander(f"Not judged: {len(found.unread):,}", key="try_unread"):
        st.dataframe(
            pd.DataFrame(
                {
                    "File": [each.name for each in found.unread],
                    "Why": [each.reason for each in found.unread],
                }
            ),
            hide_index=True,
            key="try_unread_table",
            alt="Files that could not be judged, with the reason",
        )
