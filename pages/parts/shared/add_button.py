"""A button that adds what was uploaded; pressed too early, it waits for it."""

from collections.abc import Callable

import streamlit as st

from pages.parts.shared.received import arriving

ARRIVING = "The upload is still arriving. It is added as soon as it is here."


def add_button(label: str, key: str, add: Callable[[], bool], *, disabled: bool = False) -> None:
    """Call `add` when the button was pressed and no file is on its way any more.

    `add` gives whether it did, and the page is drawn again then; else it said why not. It may be
    called again for the same press: another rerun, such as that of a file that has just arrived,
    may end the script before it is through. Draw this after `received` was called for what is
    there.
    """
    pressed = f"{key}_pressed"
    st.button(label, key=key, type="primary", disabled=disabled, on_click=_note, args=(pressed,))
    if pressed not in st.session_state:
        return
    if arriving():
        st.fragment(_waiting, run_every=1)()
        return
    done = add()
    st.session_state.pop(pressed, None)
    if done:
        st.rerun()


def _note(pressed: str) -> None:
    """Before the script runs: what ends it early does not forget the press."""
    st.session_state[pressed] = True


def _waiting() -> None:
    """The browser says when a file is there; of one that it gave up it says nothing."""
    if not arriving():
        st.rerun(scope="app")
    st.info(ARRIVING, icon=":material/upload:")
