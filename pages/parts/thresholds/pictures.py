"""The images on either side of the threshold, nearest first."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run import gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import RunImage, Wanted
from gsc_core.run.mistakes import nearest_to
from gsc_core.run.stored import Run
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.text import plain

MOST = 5  # on each side: a row at 1280 pixels


def nearest(run: Run, decision: Decision) -> None:
    """Two rows of images, each leading to its own page."""
    st.header("On either side of the threshold", anchor=False)
    try:
        st.markdown("**Just accepted**")
        accepted, flagged = nearest_to(decision.value)
        _row(run, decision, accepted)
        st.markdown("**Just flagged**")
        _row(run, decision, flagged)
    except GscError as error:
        st.warning(plain(str(error)))


def _row(run: Run, decision: Decision, wanted: Wanted) -> None:
    rows = gallery.in_order(run, decision.detector, wanted)[:MOST]
    if not len(rows):
        st.caption("None: all images are on the other side.")
        return
    scores, images = run.cells(decision.detector, rows), gallery.run_images(run, rows)
    tiles = [
        _tile(run, image, float(score), wanted.side == "inside")
        for image, score in zip(images, scores, strict=True)
    ]
    picture_grid(tiles)


def _tile(run: Run, picture: RunImage, score: float, is_accepted: bool) -> Tile:
    kind = "Familiar" if picture.role == "id" else picture.set
    caption = f"{kind}, {score:.4g}"
    seen = gallery.class_name(run, picture.predicted)
    verdict = "accepted" if is_accepted else "flagged"
    alt = f"{picture.file}: {kind}, classified as {seen}, outlier score {score:.4g}, just {verdict}"
    return Tile(picture.path, caption, alt, ("images", {"run": run.id, "image": str(picture.row)}))
