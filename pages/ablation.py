"""What each part of GSC brings on this model."""

import streamlit as st


def render() -> None:
    """Show the page."""
    st.header("Ablation", anchor=False)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
