"""Sets of images: familiar, unfamiliar, calibration. Add one, look into one."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs.database import Readiness, StoredSet
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets
from pages.parts.image_sets.form import add_form
from pages.parts.image_sets.view import badges, next_step, progress, set_view
from pages.parts.image_sets.words import summary
from pages.parts.shared import links
from pages.parts.shared.question import doubt
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.text import UNFAMILIAR, plain

ON_A_PAGE = 20


def render() -> None:
    """Show the set that the address names, else all of them and a form to add one."""
    try:
        asked = st.query_params.get("set")
        if asked:
            # A link from this page to itself brings the query here, but not into the address bar.
            st.query_params["set"] = asked
            st.button("All sets", key="set_all", icon=":material/arrow_back:", on_click=_leave)
            set_view(imagesets.image_set(asked))
        else:
            _all()
    except GscError as error:
        st.error(plain(str(error)))


def _leave() -> None:
    st.query_params.pop("set", None)


def _all() -> None:
    st.title("Image sets", anchor=False)
    st.markdown(
        "An audit needs two kinds: **familiar images**, like those your model was made for, and "
        "**unfamiliar images**, which it was never meant to see.",
        help=UNFAMILIAR,
    )
    stored = imagesets.list_sets()
    if not acting.permits(Action.ADD):
        st.caption(READS_ONLY if stored else "No images yet.")
        _list(stored)
        return
    if not stored:
        st.caption("No images yet: start with a ZIP of familiar ones.")
        add_form()
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        next_step(stored)
        _list(stored)
    with right:
        add_form()


def _list(stored: list[StoredSet]) -> None:
    pages = -(-len(stored) // ON_A_PAGE)
    page = min(st.session_state.get("set_list_page", 1), pages) if pages > 1 else 1
    for each in stored[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
        _row(each)
    if pages > 1:
        st.pagination(pages, key="set_list_page")


def _row(stored: StoredSet) -> None:
    with st.container(border=True, key=f"set_row_{stored.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                links.to("image-sets"), label=plain(stored.name), query_params={"set": stored.id}
            )
            st.space("stretch")
            badges(stored)
        if stored.readiness is Readiness.WAITING:
            progress(stored)
        elif stored.readiness is Readiness.REFUSED:
            question = Question.read(stored.question)
            said = doubt(question) if question else stored.sentence
            st.caption(plain(said or "It cannot be used."))
        else:
            st.caption(plain(summary(stored)))


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
