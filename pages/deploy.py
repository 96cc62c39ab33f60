"""Take the detector with you: one file with the classifier, the detector and the alarm."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import exports
from pages.parts.deploy.made import example, shelf, watch
from pages.parts.deploy.order import order
from pages.parts.shared.rights import READS_ONLY
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import UNFAMILIAR, plain

WHAT = """\
One file with everything in it: how an image is prepared, the classifier, the detector and its
alarm. It needs PyTorch and nothing else, not even this program. For each image it says:

- **What it is**: the classifier's answer, unchanged.
- **How unfamiliar it is**: its outlier score, and how many of 100 familiar images score no higher.
- **Whether to trust that**: accepted or flagged, by the threshold you set.
"""


def render() -> None:
    """Show the run that the address asks for."""
    run = chosen_run("deploy")
    if run is None:
        return
    st.title("Take the detector with you", anchor=False)
    st.markdown(WHAT, help=UNFAMILIAR)
    try:
        if acting.permits(Action.START):
            order(run)
        else:
            st.caption(READS_ONLY)
        made = exports.exports(run)
    except GscError as error:
        st.error(plain(str(error)))
        return
    shelf(run, made)
    if made:
        example(made[0])
    watch()


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
