"""A press that does its work once, though a hasty reader presses twice."""

from collections.abc import Callable

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile


def once(key: str, act: Callable[[], str], *, of: str = "") -> str:
    """The id that `act` gives; for the same `of` it is given again, and nothing is done twice.

    The second of two presses ends the script that the first one started, and runs the page with
    the button pressed once more before the reader is led away.
    """
    # Looked up first: any use of the session may end the script, a plain dictionary never does.
    done: dict[str, str] = st.session_state.setdefault(f"{key}_once", {})
    if of not in done:
        done[of] = act()
    return done[of]


def again(key: str) -> None:
    """The button was shown and not pressed: its next press is another one."""
    st.session_state.pop(f"{key}_once", None)


def uploaded(*files: UploadedFile) -> str:
    """Tells these uploads from all others, also of the same files."""
    return " ".join(file.file_id for file in files)
