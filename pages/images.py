"""The images of a run, one by one, and an image of your own."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.stored import Run
from gsc_core.sentences.run import answer
from pages.parts.images.board import board
from pages.parts.images.export import rest
from pages.parts.images.map import map_view
from pages.parts.images.order import GALLERY, MAP, MARKED, TRY, VIEW, order
from pages.parts.images.try_images import try_images
from pages.parts.images.view import image_view
from pages.parts.shared.in_address import segments
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import plain

VIEWS = {GALLERY: "Gallery", MAP: "Map", TRY: "Try images"}


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
        usual = TRY if "try" in st.query_params else GALLERY
        view = segments("View", VIEWS, VIEW, usual=usual)
        if view == TRY:
            try_images(run)
        elif view == MAP:
            map_view(run)
        else:
            _gallery(run)
    except GscError as error:
        st.error(plain(str(error)))


@st.fragment
def _gallery(run: Run) -> None:
    """All that moves with the choices; redraws alone, so an error stays inside."""
    try:
        _images(run)
    except GscError as error:
        st.error(plain(str(error)))


def _images(run: Run) -> None:
    st.title("The images of this audit", anchor=False)
    st.markdown(plain(answer(run)))
    chosen = order(run)
    if chosen.show == MARKED:
        rest(run)
    board(run, chosen)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
