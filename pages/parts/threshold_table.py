"""What passes of each set of strangers, the worst first."""

import pandas as pd
import streamlit as st

from gsc_core.evaluation.thresholds import Effect


def sets_table(found: Effect) -> None:
    """One row a set, sortable; scrolls when there are many."""
    st.subheader("Set by set", anchor=False)
    rows = sorted(found.strangers.items(), key=lambda item: -item[1].share)
    frame = pd.DataFrame(
        {
            "Set of strangers": [name for name, _ in rows],
            "Would pass": [1000 * one.share for _, one in rows],
            "At least": [1000 * one.low for _, one in rows],
            "At most": [1000 * one.high for _, one in rows],
            "Tested": [one.total for _, one in rows],
            "Passed": [one.passed for _, one in rows],
        }
    )
    in_1000 = st.column_config.NumberColumn(format="%.0f")
    st.dataframe(
        frame,
        key="threshold_sets",
        hide_index=True,
        height="content" if len(frame) <= 12 else 460,
        column_config={
            "Would pass": st.column_config.ProgressColumn(
                "Would pass, of 1,000", format="%.0f", min_value=0, max_value=1000
            ),
            "At least": in_1000,
            "At most": in_1000,
        },
        alt="Pictures of each set of strangers that pass at this threshold, of 1,000.",
    )
    st.caption(
        "Counts of 1,000 pictures of that kind; at least and at most are the ends of the exact "
        "95 % interval. Tested and Passed are the pictures of this audit."
    )
