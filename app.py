"""Entry of the web app: configuration and navigation; nothing else."""

import streamlit as st

from pages import results

# Inline: a named icon would be fetched from another host. A familiar dot, and one that is not.
ICON = (
    '<svg viewBox="0 0 16 16"><circle cx="5" cy="8" r="4" fill="#7E8B90"/>'
    '<circle cx="12" cy="8" r="3" fill="none" stroke="#D55E00" stroke-width="2"/></svg>'
)


def main() -> None:
    """Set up the page and hand over to the one that the address names."""
    st.set_page_config(page_title="GSC Audit", page_icon=ICON, layout="wide")
    # A new page is one file and one line here. The first has no path of its own, hence the second.
    pages = [
        st.Page(results.render, title="Result", default=True),
        st.Page(results.render, title="Result", url_path="results", visibility="hidden"),
    ]
    st.navigation(pages, position="top").run()


# Streamlit's old multipage mode can run a page file first; see the end of pages/results.py.
if __name__ == "__main__":
    main()
