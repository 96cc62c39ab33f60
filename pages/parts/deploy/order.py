"""What goes into an exported detector: which one, its threshold, and in which formats."""

import streamlit as st

from gsc_core.errors import GscError
from gsc_core.extras import missing
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.run import decisions, picking
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.decision import picked_sentence
from gsc_core.sentences.threshold import (
    familiar_sentence,
    learned,
    shortage,
    strangers_sentence,
)
from gsc_core.workspace import exports
from pages.parts.shared import links
from pages.parts.shared.detector_choice import detector_choice
from pages.parts.shared.job import job_progress
from pages.parts.shared.text import WRONG_WAY, plain

DETECTOR, ONNX = "deploy_detector", "deploy_onnx"
_RUN = "deploy_of_run"  # whose choices the widgets hold
_REFUSED = "deploy_refused"  # why the last order could not be taken
_AT_A_TIME = 4


def order(run: Run) -> None:
    """The choices and the button, or how far the last order is."""
    own = decisions.current(run)
    st.header("What goes in", anchor=False)
    detector = _detector(run, own)
    decision = decisions.offered(run, detector)
    _threshold(run, own, decision)
    without_onnx = missing("onnx", "onnxscript", "onnxruntime")
    onnx = st.toggle(
        "Also as ONNX",
        key=ONNX,
        disabled=without_onnx is not None,
        help=without_onnx
        or "For ONNX Runtime, TensorRT and the like, without PyTorch. It takes images that are "
        "already resized and cropped, because libraries do that differently. A few detectors have "
        "no ONNX form: then a message says so.",
    )
    _start(run, decision, onnx)
    _at_work(run)


def _detector(run: Run, own: Decision) -> str:
    """Which detector; it starts at the one that the run's threshold is for."""
    if st.session_state.get(_RUN, run.id) != run.id:
        st.session_state[DETECTOR] = own.detector
    st.session_state[_RUN] = run.id
    try:
        ranked = [candidate.detector for candidate in picking.candidates(run)]
    except GscError:  # sets too small for halves
        ranked = list(run.detectors)
    return detector_choice(
        run,
        ranked,
        DETECTOR,
        first=own.detector,
        width=420,
        help="Sorted by the figures to choose by (see Results). A detector other than the "
        "default is picked afterwards: its counts are then of images that had no part in the "
        "choice.",
    )


def _threshold(run: Run, own: Decision, decision: Decision) -> None:
    """What the alarm will do, in counts, and where to change it."""
    with st.container(border=True):
        rule = plain(decision.rule.words())
        refused = _refused(decision)
        above = "" if refused else f" It flags images that score above {decision.value:.4g}."
        st.markdown(f"**Its alarm: {rule}.**{above}")
        if decision.detector in run.inverted:
            st.warning(f"{WRONG_WAY} Its alarm flags the wrong ones.")
        if warning := learned(decision, run):
            st.warning(plain(warning))
        calibration = len(run.calibration_scores(decision.detector))
        if useless := shortage(decision.rule, calibration) or refused:
            st.warning(plain(useless))
        else:
            _effect(run, decision, trial=decision != own)
        if other := _borrowed(own, decision):
            st.caption(plain(other))
        st.page_link(
            links.to("thresholds"),
            label="Set another threshold",
            icon=":material/tune:",
            query_params={"run": run.id, "threshold_detector": decision.detector},
        )


def _effect(run: Run, decision: Decision, *, trial: bool) -> None:
    try:
        found = decisions.effect_of(run, decision, trial=trial)
        picked = picked_sentence(run, decision, trial=trial)
    except GscError as error:
        st.warning(plain(str(error)))
        return
    st.markdown(plain(familiar_sentence(found)))
    st.markdown(plain(strangers_sentence(found)))
    if picked:
        st.caption(plain(picked))


def _refused(decision: Decision) -> str | None:
    """Why no detector is made of this threshold."""
    try:
        decisions.ensure_finite(decision)
    except GscError as error:
        return str(error)
    return None


def _borrowed(own: Decision, decision: Decision) -> str | None:
    """Where the threshold comes from if the run's own is for another detector."""
    if own.detector == decision.detector:
        return None
    if own.rule.by_hand:
        return (
            f"The run's threshold was set by hand for {own.detector}, whose scores have another "
            "scale: the usual rule is used here instead."
        )
    return (
        f"The run's threshold is for {own.detector}: this is the same rule for {decision.detector}."
    )


def _start(run: Run, decision: Decision, onnx: bool) -> None:
    obstacle = exports.obstacle(run)
    if obstacle is not None:
        st.warning(plain(obstacle))
    st.button(
        "Make the detector",
        type="primary",
        key="deploy_start",
        icon=":material/deployed_code:",
        disabled=obstacle is not None
        or _refused(decision) is not None
        or len(exports.at_work(run.id)) >= _AT_A_TIME,
        on_click=_submit,
        args=(run.id, decision, onnx),
    )
    st.caption(
        "It is checked against the audit's own scores before you get it. That usually takes less "
        "than a minute; you can close this page meanwhile."
    )
    if refused := st.session_state.pop(_REFUSED, None):
        st.error(plain(refused))
    with st.expander("The same on the command line", key="deploy_command"):
        st.code(exports.command(run, decision, onnx=onnx), language="bash", wrap_lines=True)


def _submit(run_id: str, decision: Decision, onnx: bool) -> None:
    """Ask for it; a hasty second press finds the first one's order."""
    try:
        exports.submit_export(run_id, decision, onnx=onnx)
    except GscError as error:
        st.session_state[_REFUSED] = str(error)


def _at_work(run: Run) -> None:
    """All that wait or run, else how the last one ended if it did not end well."""
    for place, job in enumerate(exports.at_work(run.id)):
        with st.container(border=True):
            st.markdown(f"**{plain(job.title)}**")
            job_progress(job.id, f"deploy_job_{place}")
    last = queue.latest(run.id, Kind.EXPORT)
    if last is not None and last.state in (State.FAILED, State.CANCELLED):
        with st.container(border=True):
            st.markdown(f"**{plain(last.title)}**")
            job_progress(last.id, "deploy_last")
