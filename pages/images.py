"""The images of a run, one by one, and an image of your own."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run import gallery
from gsc_core.run.gallery import RunImage
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer
from pages.parts.images.order import Order, order, set_name
from pages.parts.images.try_images import try_images
from pages.parts.images.view import image_view
from pages.parts.shared.pictures import MOST, Tile, picture_grid
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import UNFAMILIAR, plain

VIEWS = {"gallery": "Gallery", "try": "Try images"}


def render() -> None:
    """Show the image that the address names, else the gallery or a place to drop one."""
    run = chosen_run("images")
    if run is None:
        return
    try:
        asked = st.query_params.get("image")
        if asked is not None:
            # A link from this page to itself brings the query here, but not into the address bar.
            st.query_params["image"] = asked
            image_view(run, asked)
            return
        view = st.segmented_control(
            "View",
            list(VIEWS),
            default="try" if "try" in st.query_params else "gallery",
            required=True,
            format_func=VIEWS.__getitem__,
            key="images_view",
            bind="query-params",
            label_visibility="collapsed",
        )
        if view == "try":
            try_images(run)
        else:  # also when the address names no view
            _gallery(run)
    except GscError as error:
        st.error(plain(str(error)))


def _gallery(run: Run) -> None:
    st.title("The images of this audit", anchor=False)
    st.markdown(plain(answer(run)))
    chosen = order(run)
    count = len(chosen.rows)
    if not count:
        st.info("No image matches these filters: clear one.")
        return
    pages = -(-count // MOST)
    place = st.container()
    page = 1
    if pages > 1:
        page = st.pagination(pages, key="images_page", bind="query-params")
    first = (page - 1) * MOST
    rows = chosen.rows[first : first + MOST]
    with place:
        st.caption(
            f"{count:,} images, {first + 1:,} to {first + len(rows):,} shown. An image is "
            f"flagged when its score is above {chosen.threshold:.4g}. ● familiar, ○ unfamiliar. "
            "Choose one to see why.",
            help=UNFAMILIAR,
        )
        scores = run.column(chosen.detector)
        picture_grid(
            [
                _tile(run, picture, float(scores[picture.row]), chosen)
                for picture in gallery.run_images(run, rows)
            ]
        )


def _tile(run: Run, picture: RunImage, score: float, chosen: Order) -> Tile:
    seen = gallery.class_name(run, picture.predicted)
    verdict = "flagged" if score > chosen.threshold else "accepted"
    whose = set_name(picture.set if picture.role == "ood" else picture.role)
    dot = "○" if picture.role == "ood" else "●"
    return Tile(
        picture.path,
        f"{dot} {score:.3g} {seen}",
        f"{picture.file}, from {whose}, called {seen}, outlier score {score:.3g}, {verdict}",
        ("images", _kept() | {"run": run.id, "image": str(picture.row)}),
    )


def _kept() -> dict[str, str]:
    """What the address says of the gallery's order, so that the way back keeps it."""
    return {key: value for key, value in st.query_params.items() if key.startswith("images_")}


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
