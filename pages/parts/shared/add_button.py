"""A button that adds what was uploaded; pressed too early, it waits for it."""

import streamlit as st

from pages.parts.shared.received import arriving

ARRIVING = "The upload is still arriving. It is added as soon as it is here."


def add_button(label: str, key: str, *, disabled: bool = False) -> bool:
    """Whether to add now: the button was pressed, and no file is on its way any more.

    Call it after `received` was called for what is there.
    """
    waits = f"{key}_waits"
    pressed = st.button(label, key=key, type="primary", disabled=disabled)
    if arriving():
        if pressed:
            st.session_state[waits] = True
        if waits in st.session_state:
            st.fragment(_waiting, run_every=1)()
        return False
    return bool(st.session_state.pop(waits, False)) or pressed


def _waiting() -> None:
    """The browser says when a file is there; of one that it gave up it says nothing."""
    if not arriving():
        st.rerun(scope="app")
    st.info(ARRIVING, icon=":material/upload:")
