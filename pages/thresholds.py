"""Where to set the alarm: rule, slider, histogram line, ROC point and counts move together."""

import math

import streamlit as st

from gsc_core.charts.threshold import marked
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import in_1000
from gsc_core.evaluation.thresholds import Effect
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision, Part
from gsc_core.run.stored import Run
from gsc_core.sentences.decision import picked_sentence, standing_sentence
from gsc_core.sentences.threshold import (
    basis_sentence,
    familiar_sentence,
    learned,
    shortage,
    strangers_sentence,
    stray_sentence,
)
from gsc_core.sentences.warnings import extreme, rough
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import run_decisions, runs
from pages.parts.shared import links, threshold_figures
from pages.parts.shared.figures import figures_of
from pages.parts.shared.run import chosen_run
from pages.parts.shared.text import UNFAMILIAR, WRONG_WAY, plain
from pages.parts.thresholds import controls
from pages.parts.thresholds.controls import Start
from pages.parts.thresholds.pictures import nearest
from pages.parts.thresholds.refusing import refusing
from pages.parts.thresholds.table import classes_table, sets_table

ALL_SETS = "All sets, equally weighted"
NOTE = "threshold_note"
HISTOGRAM, ROC = 250, 280  # pixels high
HISTOGRAM_ALT = "Histogram of outlier scores with a line at the threshold."
ROC_ALT = "ROC curve with a point at the threshold."
REFUSED = "threshold_refused"  # why the last decision could not be saved


def render() -> None:
    """Show the run that the address asks for."""
    run = chosen_run("thresholds")
    if run is None:
        return
    st.title("Where to set the alarm", anchor=False)
    st.markdown(
        "Images that score above the threshold are flagged: a lower threshold flags more of both "
        "kinds.",
        help=UNFAMILIAR,
    )
    _workbench(figures_of(run))


@st.fragment
def _workbench(run: Run) -> None:
    """All that moves with the threshold, so that a step does not redraw the page."""
    try:
        stored = decisions.standing(run)
        start = Start(run, stored or decisions.default(run))
    except GscError as error:
        st.error(plain(str(error)))
        if decisions.version(run) and acting.permits(Action.DECIDE, runs.owner(run.id)):
            st.button(
                "Discard the threshold", key="threshold_forget", on_click=_store, args=(run, None)
            )
        return
    controls.begin(start)
    left, right = st.columns(2, gap="medium")
    with left:
        detector = controls.detector(start)
    with right:
        shown = _shown_set(run)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        try:
            drawn = threshold_figures.drawn(run, detector)
            decision = _as_stored(controls.decision(start, detector, drawn), stored)
            trial = stored is None or _undated(stored) != decision
            found = decisions.effect_of(run, decision, trial=trial)
            picked = picked_sentence(run, decision, trial=trial)
            calibration = len(run.calibration_scores(detector))
        except GscError as error:
            st.error(plain(str(error)))
            return
        _counts(found)
    with right:
        _figures(run, decision, found, decisions.part_of(decision, trial=trial), shown)
    if detector in run.inverted:
        st.warning(f"{WRONG_WAY} A threshold on it flags the wrong ones.")
    if warning := learned(decision, run):
        st.warning(plain(warning))
    _basis(run, decision, found, calibration, picked)
    _keep(run, decision, stored)
    if len(run.ood_sets) > 1:
        sets_table(found)
    classes_table(run, decision, trial=trial)
    refusing(run, decision)
    nearest(run, decision)


def _counts(found: Effect) -> None:
    """The two numbers that a threshold trades, beside the slider that moves them."""
    st.metric(
        "Unfamiliar images accepted",
        f"{in_1000(found.ood_share)} of 1,000",
        help="False positive rate: the share of OOD images at or below the threshold, each "
        "set with equal weight.",
    )
    st.metric(
        "Familiar images accepted",
        f"{in_1000(found.id.share)} of 1,000",
        help="True positive rate: the share of ID test images at or below the threshold.",
    )


def _basis(run: Run, decision: Decision, found: Effect, calibration: int, picked: str) -> None:
    """The two numbers in words, and what they rest on.

    `picked` says on which images a picked detector is judged; empty for another.
    """
    st.markdown(plain(f"{familiar_sentence(found)} {strangers_sentence(found)}"))
    for sentence in decision.rule.outcomes(found):
        st.markdown(plain(sentence))
    if picked:
        st.markdown(plain(picked))
    if warning := shortage(decision.rule, calibration) or extreme(decision):
        st.warning(plain(warning))
        return
    if warning := rough(run, decision):
        st.warning(plain(warning))
    if not (picked and decision.rule.needs_ood):
        st.caption(plain(basis_sentence(run, decision, found)))
    if stray := stray_sentence(run, decision):
        st.caption(plain(stray))


def _keep(run: Run, decision: Decision, stored: Decision | None) -> None:
    """Store the decision, and say which one holds."""
    if not acting.permits(Action.DECIDE, runs.owner(run.id)):
        st.caption("You can try thresholds here; who started the run, or an operator, decides.")
        st.caption(plain(standing_sentence(run, stored or decisions.default(run))))
        return
    if run.revision is not None:
        st.caption(
            "A threshold is saved on the figures as audited: switch to them above to save one."
        )
        return
    same = stored is not None and _undated(stored) == decision
    note = st.text_input(
        "Note",
        key=NOTE,
        max_chars=decisions.MAX_NOTE,
        placeholder="Why this one? Kept with the decision, for whoever reads the run later.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Use this threshold",
            type="primary",
            key="threshold_save",
            disabled=same or not math.isfinite(decision.value),
            help="Saved with the run, with the day and your login: every page, the report, the "
            "release gate and the exported detector use it.",
            on_click=_store,
            args=(run, decision, note),
        )
        if stored is not None:
            st.button(
                "Back to the default", key="threshold_forget", on_click=_store, args=(run, None)
            )
        st.page_link(links.to("report"), label="See the report", query_params={"run": run.id})
    if sentence := st.session_state.pop(REFUSED, None):
        st.error(plain(sentence))
    st.caption(plain(standing_sentence(run, stored or decisions.default(run))))


def _as_stored(decision: Decision, stored: Decision | None) -> Decision:
    """What an earlier version stored stays what it is: its detector was picked by all images."""
    if stored is None:
        return decision
    earlier = _undated(stored)
    same = earlier.model_copy(update={"picked": decision.picked}) == decision
    return earlier if same else decision


def _undated(stored: Decision) -> Decision:
    """The decision without who made it when, to be compared with what the controls ask for."""
    return stored.model_copy(update={"chosen": None, "who": None, "note": None})


def _store(run: Run, decision: Decision | None, note: str = "") -> None:
    """Save the decision, or discard the stored one; what went wrong is shown by the next draw."""
    try:
        run_decisions.decide(run, decision, note)
    except GscError as error:
        st.session_state[REFUSED] = str(error)


def _shown_set(run: Run) -> str | None:
    """Which OOD set the charts are of; None for all, of which there may be one."""
    if len(run.ood_sets) == 1:
        return None
    return st.selectbox(
        "Sets shown",
        [None, *run.ood_sets],
        format_func=lambda name: ALL_SETS if name is None else name,
        key="threshold_set",
    )


def _figures(run: Run, decision: Decision, found: Effect, part: Part, shown: str | None) -> None:
    # Drawn of the images that the counts are of, so that the point lies on the curve.
    drawn = threshold_figures.drawn(run, decision.detector, part, shown)
    histogram, roc = marked(drawn, found.only(shown))
    histogram.update_xaxes(title_text=None)  # the slider says it
    # All that moves is seen at once on a screen of 900 pixels.
    for key, figure, height, alt in (
        ("histogram", histogram, HISTOGRAM, f"{HISTOGRAM_ALT} {familiar_sentence(found)}"),
        ("roc", roc, ROC, f"{ROC_ALT} {strangers_sentence(found)}"),
    ):
        figure.update_layout(height=height, margin={"t": 24, "b": 56}, showlegend=key != "roc")
        st.plotly_chart(figure, key=f"threshold_{key}", config={"displayModeBar": False}, alt=alt)


# On a cold server Streamlit may run this file itself as an old-style page: start at the entry.
if __name__ == "__main__":
    from app import main

    main()
