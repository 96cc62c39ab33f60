"""Entry of the web app: configuration, login and navigation; nothing else."""

import streamlit as st

from gsc_core.workspace.keeper import keep_workers
from pages import (
    ablation,
    home,
    image_sets,
    images,
    models,
    new_audit,
    report,
    results,
    runs,
    thresholds,
)
from pages.parts import access

# Inline: a named icon would be fetched from another host. A familiar dot, and one that is not.
ICON = (
    '<svg viewBox="0 0 16 16"><circle cx="5" cy="8" r="4" fill="#7E8B90"/>'
    '<circle cx="12" cy="8" r="3" fill="none" stroke="#D55E00" stroke-width="2"/></svg>'
)


def main() -> None:
    """Set up the page, let the visitor in and hand over to the one that the address names."""
    st.set_page_config(page_title="GSC Audit", page_icon=ICON, layout="wide")
    # A new page is one file and one line here.
    pages = {
        "": [st.Page(home.render, title="Home", icon=":material/home:", default=True)],
        "Prepare": [
            st.Page(models.render, title="Models", url_path="models"),
            st.Page(image_sets.render, title="Image sets", url_path="image-sets"),
        ],
        "Audit": [
            st.Page(new_audit.render, title="New audit", url_path="new-audit"),
            st.Page(runs.render, title="Runs", url_path="runs"),
        ],
        "Understand": [
            st.Page(results.render, title="Results", url_path="results"),
            st.Page(images.render, title="Images", url_path="images"),
            st.Page(thresholds.render, title="Thresholds", url_path="thresholds"),
            st.Page(ablation.render, title="Ablation", url_path="ablation"),
            st.Page(report.render, title="Report", url_path="report"),
        ],
    }
    keep_workers()
    inside = access.entered()
    chosen = st.navigation(pages, position="sidebar" if inside else "hidden")
    if inside:
        chosen.run()


# Streamlit's old multipage mode can run a page file first; see the end of pages/results.py.
if __name__ == "__main__":
    main()
