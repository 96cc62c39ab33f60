"""The words of the app, explained to a reader without training, and what detectors are called."""

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.report.glossary import GLOSSARY
from gsc_core.workspace.catalogue import catalogue
from pages.parts.shared.text import plain


def render() -> None:
    """Show every word with its meaning, then every detector."""
    st.title("Glossary", anchor=False)
    st.markdown("The words of these pages and of the reports.")
    half = -(-len(GLOSSARY) // 2)
    for column, terms in zip(
        st.columns(2, gap="large"), (GLOSSARY[:half], GLOSSARY[half:]), strict=True
    ):
        for term in terms:
            column.markdown(f"**{plain(term.word)}**  \n{plain(term.meaning)}")
    st.header("Detectors", anchor=False)
    try:
        _detectors()
    except GscError as error:
        st.error(plain(str(error)))


def _detectors() -> None:
    rows = catalogue().detectors
    st.dataframe(
        pd.DataFrame(
            {
                "Detector": [row.title for row in rows],
                "Short name": [row.name for row in rows],
                "What it does": [row.about for row in rows],
                "Family": [row.family.value for row in rows],
                "Known to fail on": [row.fails_on or "–" for row in rows],
            }
        ),
        hide_index=True,
        key="glossary_detectors",
        height=460,
        column_config={"What it does": st.column_config.TextColumn(width="large")},
        alt="Every detector: its title, its short name, what it does, its family, where it fails",
    )


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
