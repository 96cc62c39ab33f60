"""The images on either side of the threshold, nearest first."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run import gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import RunImage, Side
from gsc_core.run.stored import Run
from pages.parts.shared.pictures import Tile, picture_grid
from pages.parts.shared.text import plain

MOST = 5  # on each side: a row at 1280 pixels


def nearest(run: Run, decision: Decision) -> None:
    """Two rows of images, each leading to its own page."""
    st.header("On either side of the threshold", anchor=False)
    try:
        st.markdown("**Just accepted**")
        _row(run, decision, "inside")
        st.markdown("**Just flagged**")
        _row(run, decision, "outside")
    except GscError as error:
        st.warning(plain(str(error)))


def _row(run: Run, decision: Decision, side: Side) -> None:
    rows = gallery.ordered(
        run,
        decision.detector,
        threshold=decision.value,
        side=side,
        descending=side == "inside",
    )[:MOST]
    if not len(rows):
        st.caption("None: all images are on the other side.")
        return
    scores = run.column(decision.detector)
    tiles = [
        _tile(run, picture, float(scores[picture.row]), side)
        for picture in gallery.run_images(run, rows)
    ]
    picture_grid(tiles)


def _tile(run: Run, picture: RunImage, score: float, side: Side) -> Tile:
    kind = "Familiar" if picture.role == "id" else picture.set
    caption = f"{kind}, {score:.4g}"
    seen = gallery.class_name(run, picture.predicted)
    verdict = "accepted" if side == "inside" else "flagged"
    alt = f"{picture.file}: {kind}, classified as {seen}, outlier score {score:.4g}, just {verdict}"
    return Tile(picture.path, caption, alt, ("images", {"run": run.id, "image": str(picture.row)}))
