"""The controls of the thresholds page: detector, rule and the slider that follows it.

The address keeps the choices. What nobody chose yet starts at the run's own decision.
"""

import math
from dataclasses import dataclass

import streamlit as st

from gsc_core.charts.threshold import ThresholdFigures
from gsc_core.evaluation.thresholds import KeepId, ThresholdRule, Typed
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from pages.parts.shared.detector_choice import detector_choice
from pages.parts.shared.run import BY_VERSION
from pages.parts.thresholds import rule as rule_controls
from pages.parts.thresholds.rule import RULE

DETECTOR, VALUE = "threshold_detector", "threshold_value"
_RUN = "threshold_of_run"  # whose choices the widgets hold


@dataclass(frozen=True)
class Start:
    """What the controls show until somebody moves them: the run's own decision."""

    run: Run
    decision: Decision

    def value(self, detector: str) -> float:
        """The threshold at which "by hand" starts: decided by hand before, else the default."""
        if self.decision.rule.by_hand and self.decision.detector == detector:
            return self.decision.value
        return _decided(self.run, detector, KeepId(share=decisions.KEEP)).value


def begin(start: Start) -> None:
    """Let the controls start again for another run; for the same one they keep what they hold."""
    if st.session_state.get(_RUN, start.run.id) != start.run.id:
        st.session_state[DETECTOR] = start.decision.detector
        rule_controls.begin(start.decision.rule)
        st.session_state.pop(VALUE, None)
    st.session_state[_RUN] = start.run.id


def detector(start: Start) -> str:
    """Which detector raises the alarm."""
    return detector_choice(
        start.run,
        start.run.detectors,
        DETECTOR,
        first=start.decision.detector,
        on_change=_off_by_hand,
    )


def decision(start: Start, detector: str, drawn: ThresholdFigures) -> Decision:
    """What the controls ask for. The slider shows the rule's value; moving it is by hand."""
    rule = rule_controls.chosen(start.decision.rule)
    if rule is None:
        value = _slider(drawn, start.value(detector))
        return decisions.decide(start.run, detector, Typed(value=value))
    wanted = _decided(start.run, detector, rule)
    st.session_state[VALUE] = _within(drawn, wanted.value)
    _slider(drawn, wanted.value)
    return wanted


def _decided(run: Run, detector: str, rule: ThresholdRule) -> Decision:
    return _computed(run, detector, rule)


# Some rules sort all scores.
@st.cache_data(max_entries=1024, show_spinner=False, hash_funcs=BY_VERSION)
def _computed(run: Run, detector: str, rule: ThresholdRule) -> Decision:
    return decisions.decide(run, detector, rule)


def _slider(drawn: ThresholdFigures, value: float) -> float:
    digits = max(0, -math.floor(math.log10(drawn.step)))
    return st.slider(
        "Threshold: images are accepted up to this outlier score",
        min_value=drawn.low,
        max_value=drawn.high,
        value=_within(drawn, value),
        step=drawn.step,
        format=f"%.{digits}f",
        key=VALUE,
        bind="query-params",
        on_change=_by_hand,
        help="Outlier scores have no unit; each detector has its own scale.",
    )


def _within(drawn: ThresholdFigures, value: float) -> float:
    return min(max(value, drawn.low), drawn.high)


def _by_hand() -> None:
    st.session_state[RULE] = Typed.kind()


def _off_by_hand() -> None:
    """Another detector has another scale: a value set by hand means nothing there."""
    if st.session_state.get(RULE) == Typed.kind():
        st.session_state[RULE] = KeepId.kind()
