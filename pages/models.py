"""The classifiers of this workspace: add one, see whether it fits, look one up."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.errors.questions import Question
from gsc_core.jobs.database import Readiness, StoredModel
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import models
from pages.parts.models.form import add_form
from pages.parts.models.view import badge, manage, model_view, progress
from pages.parts.shared import links
from pages.parts.shared.question import doubt
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.text import plain

ON_A_PAGE = 20


def render() -> None:
    """Show the model that the address names, else all of them and a form to add one."""
    try:
        asked = st.query_params.get("model")
        if asked:
            st.query_params["model"] = asked  # a link within one page leaves the address as it was
            st.button("All models", key="model_all", icon=":material/arrow_back:", on_click=_leave)
            model_view(models.model(asked))
        else:
            _all()
    except GscError as error:
        st.error(plain(str(error)))


def _leave() -> None:
    st.query_params.pop("model", None)


def _all() -> None:
    st.title("Models", anchor=False)
    st.markdown(
        "The image classifiers you want to audit. Each is checked when you add it: does it load, "
        "what does it expect, where can it be cut?"
    )
    stored = models.list_models()
    if not acting.permits(Action.ADD):
        st.caption(READS_ONLY if stored else "No model yet.")
        _list(stored)
        return
    if not stored:
        st.caption("No model yet: choose a file. The check takes less than a minute.")
        add_form()
        return
    left, right = st.columns(2, gap="large")
    with left:
        _list(stored)
    with right:
        add_form()


def _list(stored: list[StoredModel]) -> None:
    pages = -(-len(stored) // ON_A_PAGE)
    page = st.session_state.get("model_page", 1) if pages > 1 else 1
    page = min(page, pages)
    for each in stored[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]:
        _row(each)
    if pages > 1:
        st.pagination(pages, key="model_page")


def _row(stored: StoredModel) -> None:
    with st.container(border=True, key=f"model_row_{stored.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                links.to("models"), label=plain(stored.name), query_params={"model": stored.id}
            )
            badge(stored)
            st.space("stretch")
            manage(stored)
        if stored.readiness is Readiness.WAITING:
            progress(stored)
        else:
            st.caption(plain(_summary(stored)))


def _summary(stored: StoredModel) -> str:
    if stored.readiness is Readiness.REFUSED:
        question = Question.read(stored.question)
        return doubt(question) if question else stored.sentence or "It cannot be used."
    try:
        facts = models.facts_of(stored)
    except GscError as error:
        return str(error)
    height, width = facts.input_size
    about = f"{facts.num_classes:,} classes, {height} × {width} pixels, from {facts.source}"
    assumed = facts.preprocessing.source == "assumed"
    return about + (", preprocessing assumed" if assumed else "")


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
