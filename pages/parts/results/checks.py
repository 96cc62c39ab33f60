"""What was checked about the model: warnings where nobody misses them, and the whole list."""

import streamlit as st

from gsc_core.run.stored import Run
from gsc_core.sentences.checks import checks_of, in_short, warnings_of
from pages.parts.shared.text import plain

MARKS = {
    "fine": ":green[✓]",
    "warning": ":orange[**!**]",
    "unchecked": ":gray[?]",
}


def check_warnings(run: Run) -> None:
    """A box for each warning."""
    for sentence in warnings_of(run):
        st.warning(plain(sentence), icon=":material/warning:")


def check_list(run: Run) -> None:
    """Every check, unfolded where one warns; nothing in runs of earlier versions."""
    checks = checks_of(run)
    if not checks:
        return
    warned = checks[0].outcome == "warning"
    with st.expander(in_short(checks), expanded=warned, key="results_checks"):
        for check in checks:
            st.markdown(f"{MARKS[check.outcome]} {plain(check.sentence)}")
