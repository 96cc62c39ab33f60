"""The controls of the thresholds page: detector, rule, share and the slider that follows them.

The address keeps the choices. What nobody chose yet starts at the run's own decision.
"""

import math
from dataclasses import dataclass

import streamlit as st

from gsc_core.charts_threshold import ThresholdFigures
from gsc_core.evaluation.thresholds import CatchOod, KeepId, Rule, Typed, Youden
from gsc_core.workspace import decisions, runs
from gsc_core.workspace.decisions import Decision
from gsc_core.workspace.runs import StoredRun
from pages.parts.run import load

DETECTOR, RULE = "threshold_detector", "threshold_rule"
SHARE, VALUE = "threshold_share", "threshold_value"
RULES = {
    "keep_id": "Keep familiar pictures",
    "catch_ood": "Catch strangers",
    "youden": "Widest gap",
    "typed": "By hand",
}
LEAST, MOST = 50.0, 99.9  # percent that can be asked for
_RUN = "threshold_of_run"  # whose choices the widgets hold


@dataclass(frozen=True)
class Start:
    """What the controls show until somebody moves them: the run's own decision."""

    run: StoredRun
    decision: Decision

    @property
    def share(self) -> float:
        """In percent; rules without a share start at what is kept by default."""
        rule = self.decision.rule
        share = rule.share if isinstance(rule, KeepId | CatchOod) else decisions.KEEP
        return min(max(round(100 * share, 1), LEAST), MOST)

    def value(self, detector: str) -> float:
        """The threshold at which "by hand" starts: decided by hand before, else the default."""
        if isinstance(self.decision.rule, Typed) and self.decision.detector == detector:
            return self.decision.value
        return _decided(self.run, detector, KeepId(share=decisions.KEEP)).value


def begin(start: Start) -> None:
    """Let the controls start anew for another run; for the same one they keep what they hold."""
    if st.session_state.get(_RUN, start.run.id) != start.run.id:
        st.session_state[DETECTOR] = start.decision.detector
        st.session_state[RULE] = start.decision.rule.name
        st.session_state[SHARE] = start.share
        st.session_state.pop(VALUE, None)
    st.session_state[_RUN] = start.run.id


def detector(start: Start) -> str:
    """Which detector raises the alarm."""
    return st.selectbox(
        "Detector",
        start.run.detectors,
        index=start.run.detectors.index(start.decision.detector),
        key=DETECTOR,
        bind="query-params",
        on_change=_off_by_hand,
        width=360,
    )


def decision(start: Start, detector: str, drawn: ThresholdFigures) -> Decision:
    """What the controls ask for. The slider shows the rule's value; moving it is by hand."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        name = st.segmented_control(
            "How it is set",
            list(RULES),
            default=start.decision.rule.name,
            format_func=RULES.__getitem__,
            required=True,
            wrap=True,
            key=RULE,
            bind="query-params",
            help="Keep: from calibration pictures alone (conformal quantile). Catch and widest gap "
            "(Youden's index) also look at the strangers.",
        )
        name = name or start.decision.rule.name  # an empty value in the address chooses nothing
    with right:
        share = st.slider(
            "Share to catch" if name == "catch_ood" else "Share to keep",
            min_value=LEAST,
            max_value=MOST,
            value=start.share,
            step=0.1,
            format="%.1f %%",
            key=SHARE,
            bind="query-params",
            disabled=name not in ("keep_id", "catch_ood"),
        )
    rule = _rule(name, share / 100)
    if rule is None:
        value = _slider(drawn, start.value(detector))
        return decisions.decide(start.run, detector, Typed(value=value))
    wanted = _decided(start.run, detector, rule)
    st.session_state[VALUE] = _within(drawn, wanted.value)
    _slider(drawn, wanted.value)
    return wanted


def _rule(name: str | None, share: float) -> Rule | None:
    """The rule of a name; None when the slider decides."""
    match name:
        case "keep_id":
            return KeepId(share=share)
        case "catch_ood":
            return CatchOod(share=share)
        case "youden":
            return Youden()
        case _:
            return None


def _decided(run: StoredRun, detector: str, rule: Rule) -> Decision:
    return _computed(str(run.path), runs.version(run.path), detector, rule)


# Some rules sort all scores.
@st.cache_data(max_entries=1024, show_spinner=False)
def _computed(path: str, version: int, detector: str, rule: Rule) -> Decision:
    return decisions.decide(load(path, version), detector, rule)


def _slider(drawn: ThresholdFigures, value: float) -> float:
    digits = max(0, -math.floor(math.log10(drawn.step)))
    return st.slider(
        "Threshold: pictures pass up to this outlier score",
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
    st.session_state[RULE] = "typed"


def _off_by_hand() -> None:
    """Another detector has another scale: a value set by hand means nothing there."""
    if st.session_state.get(RULE) == "typed":
        st.session_state[RULE] = "keep_id"
