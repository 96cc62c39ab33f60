"""Links from page to page that keep what the address says."""

import streamlit as st
from streamlit.navigation.page import Page


def to(address: str) -> Page:
    """The page at an address (`""` is Home), for `st.page_link` and `st.switch_page`.

    Streamlit identifies a page by its address alone, so no page has to import another.
    """
    if not address:
        return st.Page(_elsewhere, title="Home", url_path="home", default=True)
    return st.Page(_elsewhere, title=address, url_path=address)


def _elsewhere() -> None:
    """Stands for the page that app.py registered under the address."""
