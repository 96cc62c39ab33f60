"""A press that does its work once, though a hasty reader presses twice."""

from collections.abc import Callable

import streamlit as st


def once(key: str, act: Callable[[], str]) -> str:
    """The id that `act` gives; it is given again, and nothing done, until `again` is called.

    The second of two presses ends the script that the first one started, and runs the page with
    the button pressed once more before the reader is led away.
    """
    # Looked up first: any use of the session may end the script, a plain dictionary never does.
    done: dict[str, str] = st.session_state.setdefault(f"{key}_once", {})
    if "id" not in done:
        done["id"] = act()
    return done["id"]


def again(key: str) -> None:
    """The button was shown and not pressed: its next press is another one."""
    st.session_state.pop(f"{key}_once", None)
