"""Whether the confidence can be trusted, the worst classes, and what of the accepted is wrong."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gsc_core.charts import confidence as confidence_charts
from gsc_core.errors import GscError
from gsc_core.run import decisions
from gsc_core.run.confidence import Trust, trust_of
from gsc_core.run.gallery import class_name
from gsc_core.run.ood_halves import TooFewError
from gsc_core.run.reliability import PREVALENCE, errors_of, frontier_of
from gsc_core.run.stored import Run
from gsc_core.sentences import confidence as sentences
from pages.parts.shared.run import BY_VERSION
from pages.parts.shared.text import plain

MAX_CLASSES = 10
STREAM = 1000  # images that are spoken of
SHARES = (0.01, PREVALENCE, 0.5)  # of unfamiliar images, to choose from
PLAIN = {"displayModeBar": False}


def confidence(run: Run) -> None:
    """What of a confidence is meant; one sentence for a run without labels."""
    st.header(
        "Can its confidence be trusted?",
        anchor=False,
        help="The confidence is the softmax of the predicted class. All of this is measured "
        "on labelled familiar test images.",
    )
    try:
        trust = _trust(run)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    if trust is None:
        st.caption(sentences.UNLABELLED)
        return
    left, right = st.columns([2, 3], vertical_alignment="center")
    first, *more = sentences.trust_sentences(trust)
    left.markdown(plain(first))
    for sentence in more:
        left.markdown(plain(sentence))
    right.plotly_chart(
        confidence_charts.reliability(trust.calibration),
        key="results_reliability",
        config=PLAIN,
        alt=f"Reliability diagram: how often it is right over how sure it says it is. {first}",
    )
    right.caption(sentences.GROUPS)
    _classes(run, trust)
    _errors(run)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=BY_VERSION)
def _trust(run: Run) -> Trust | None:
    return trust_of(run)


def _classes(run: Run, trust: Trust) -> None:
    """The worst classes with their counts."""
    st.markdown(plain(" ".join(sentences.class_sentences(run, trust))))
    shown = trust.classes[:MAX_CLASSES]
    rows = pd.DataFrame(
        {
            "Class": [class_name(run, one.index) for one in shown],
            "Right": [f"{one.right:,} of {one.images:,}" for one in shown],
            "Accuracy": [100 * one.accuracy for one in shown],
            "95 % interval": [f"{100 * one.low:.0f} to {100 * one.high:.0f}" for one in shown],
        }
    )
    if any(one.worse for one in shown):
        rows["Worse than the others"] = ["clearly" if one.worse else "" for one in shown]
    st.dataframe(
        rows,
        hide_index=True,
        key="results_classes",
        height="content",
        alt="The classes that are classified worst, with how many of their images are right.",
        column_config={"Accuracy": st.column_config.NumberColumn(format="%.0f %%")},
    )
    few = len(shown) < len(trust.classes)
    first = f"The {len(shown)} worst of {len(trust.classes):,} classes. " if few else ""
    st.caption(f"{first}{sentences.PICKED}")


@st.fragment
def _errors(run: Run) -> None:
    """Choose how many images are unfamiliar, and see what of the accepted is wrong."""
    prevalence = st.segmented_control(
        "Of 1,000 images, how many are unfamiliar?",
        SHARES,
        default=PREVALENCE,
        required=True,
        format_func=lambda share: f"{STREAM * share:.0f}",
        key="results_prevalence",
        help="What you expect where the classifier will work (prevalence). An accepted image is "
        "answered wrongly when it is unfamiliar, or familiar and classified wrongly.",
    )
    try:
        figure, said = _accepted(run, decisions.version(run), prevalence)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    left, right = st.columns([2, 3], vertical_alignment="center")
    for sentence in said:
        left.markdown(plain(sentence))
    if figure is not None:
        right.plotly_chart(
            figure,
            key="results_errors",
            config=PLAIN,
            alt="Share answered wrongly over the share of images accepted, when the confidence "
            "alone, the detector alone or both may refuse.",
        )


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_VERSION)
def _accepted(
    run: Run, decision: int, prevalence: float
) -> tuple[go.Figure | None, tuple[str, ...]]:
    """The chart, where there are enough images for one, and what is to be said."""
    current = decisions.current(run)
    errors = errors_of(run, current, prevalence=prevalence)
    if errors is None:
        return None, ()
    said = [sentences.errors_sentence(errors)]
    try:
        frontier = frontier_of(run, current.detector, prevalence)
    except TooFewError:
        return None, (*said, sentences.NO_HALVES)
    if frontier is None:
        return None, (*said, sentences.NO_FRONTIER)
    said += [sentences.ways_sentence(errors, frontier), sentences.HALVES]
    return confidence_charts.errors(frontier, errors), tuple(said)
