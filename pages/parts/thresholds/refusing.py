"""What is gained when the classifier names only accepted images."""

import streamlit as st

from gsc_core.charts import threshold as threshold_charts
from gsc_core.errors import GscError
from gsc_core.evaluation.selective import FEWEST
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.outcomes import area_sentence, refusing_sentence
from pages.parts.shared.text import plain


def refusing(run: Run, decision: Decision) -> None:
    """The accuracy among accepted images, and the risk-coverage curve."""
    try:
        found = decisions.selective_of(run, decision)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    area = "" if found is None else area_sentence(found)
    st.header(
        "What flagging gains",
        anchor=False,
        help="Selective classification: flagged images get no name. The curve shows risk over "
        f"coverage, for labelled familiar test images. {area}",
    )
    if found is None:
        st.caption(
            "This takes labelled familiar images, some of them accepted: it says how many more of "
            "the accepted ones are classified correctly."
        )
        return
    said = refusing_sentence(found)
    if found.total < FEWEST:
        st.markdown(plain(said))
        st.caption(f"A curve is drawn from {FEWEST} labelled familiar images on.")
        return
    left, right = st.columns([2, 3], vertical_alignment="center")
    left.markdown(plain(said))
    right.plotly_chart(
        threshold_charts.refusing(found),
        key="threshold_refusing",
        config={"displayModeBar": False},
        alt=f"Risk-coverage curve with a point at the threshold. {said}",
    )
