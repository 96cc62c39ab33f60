"""Queue and history of audits."""

import streamlit as st


def render() -> None:
    """Show the page."""
    st.header("Runs", anchor=False)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
