"""Asks what the classes are called, where their numbers alone would tell a reader nothing."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.run.class_names import classes_of, names_of
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import run_class_names, runs
from pages.parts.shared.received import received
from pages.parts.shared.text import plain

TEXT, FILE, REFUSED = "class_names_text", "class_names_file", "class_names_refused"
MOST = 2**20  # characters


def ask_for_names(run: Run) -> None:
    """One line to open where classes have no names; nothing where they have, or for readers."""
    if refused := st.session_state.pop(REFUSED, None):
        st.error(plain(refused))
    if names_of(run) or not acting.permits(Action.MARK, runs.owner(run.id)):
        return
    try:
        classes = classes_of(run)
    except GscError:  # without scores there is nothing to name, which the page says
        return
    with st.expander(
        f"What are the {classes:,} classes called? Their names would say more than numbers.",
        icon=":material/label:",
        key="class_names",
    ):
        if run_class_names.are_imagenets(run):
            st.button(
                "They are ImageNet's 1,000 classes",
                key="class_names_imagenet",
                type="primary",
                on_click=_give,
                args=(run,),
                kwargs={"imagenet": True},
            )
        st.text_area(
            f"{classes:,} names, one a line, in the order of the model's outputs",
            key=TEXT,
            max_chars=MOST,
            height=140,
        )
        st.file_uploader(
            "Or a file of them (text or JSON)",
            type=["txt", "json"],
            key=FILE,
            max_upload_size=16,
        )
        st.button("Use these names", key="class_names_use", on_click=_give, args=(run,))
        st.caption("Kept with the run, and with its model if that has none. No figure changes.")


def _give(run: Run, *, imagenet: bool = False) -> None:
    """Take what was given; what is wrong with it is shown by the next draw."""
    try:
        run_class_names.give(run, None if imagenet else _given())
    except GscError as error:
        st.session_state[REFUSED] = str(error)


def _given() -> tuple[str, ...]:
    file = st.session_state.get(FILE)
    if file is not None:
        return run_class_names.read_names(received(file).read(), file.name)
    text = str(st.session_state.get(TEXT) or "")
    return run_class_names.read_names(text.encode(), "your list.txt")
