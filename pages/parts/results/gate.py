"""The release gate on the Results page: the verdict, the limits behind it, and how to set them."""

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.release.judge import judge
from gsc_core.release.policy import MAX_BYTES, example
from gsc_core.release.verdict import Outcome, Verdict
from gsc_core.run import decisions
from gsc_core.run.stored import Run
from gsc_core.team import acting
from gsc_core.team.roles import Action
from gsc_core.workspace import release_policy
from pages.parts.shared.received import received
from pages.parts.shared.run import BY_VERSION
from pages.parts.shared.text import plain

SECTION = "results_gate"
REFUSED = "results_gate_refused"  # why the last policy could not be saved
FILE = "results_gate_file"
MAX_SHOWN = 30  # rows, above which the table scrolls
_BOXES = {
    Outcome.MET: (st.success, ":material/verified:"),
    Outcome.BROKEN: (st.error, ":material/block:"),
    Outcome.UNSURE: (st.warning, ":material/help:"),
}
_SHADES = {
    Outcome.MET: "rgba(40, 160, 90, 0.18)",
    Outcome.BROKEN: "rgba(220, 60, 60, 0.28)",
    Outcome.UNSURE: "rgba(230, 170, 30, 0.26)",
}
_GRAVEST_FIRST = (Outcome.BROKEN, Outcome.UNSURE, Outcome.MET)


def release_gate(run: Run) -> None:
    """The verdict by the workspace's policy, or a quiet line where there is none."""
    if refused := st.session_state.pop(REFUSED, None):
        st.error(plain(f"These limits were not saved. {refused}"))
    try:
        policy = release_policy.version()
        if release_policy.current() is None:
            _none_yet()
            return
        verdict = _verdict(run, decisions.version(run), policy)
    except GscError as error:
        st.error(plain(str(error)))
        with st.expander("Replace or remove the release limits"):
            _change()
        return
    _say(verdict)


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=BY_VERSION)
def _verdict(run: Run, decision: int, policy: int) -> Verdict | None:
    """The verdict for these versions of the run, its threshold and the policy."""
    limits = release_policy.current()
    return None if limits is None else judge(run, decisions.current(run), limits)


def _none_yet() -> None:
    with st.expander("No release limits are set: this page says neither pass nor fail."):
        st.markdown(
            "Agree on limits before you look at results, put them in a file, and upload it here: "
            "every run of this workspace is then judged by it. On the command line, gsc gate takes "
            "the same file and stops a build when a limit is broken."
        )
        _change()


def _say(verdict: Verdict | None) -> None:
    """The verdict in a sentence, what stands against a pass, and every limit when asked."""
    if verdict is None:  # taken away a moment ago
        return
    box, icon = _BOXES[verdict.outcome]
    against = "".join(f"\n- {plain(reason)}" for reason in verdict.reasons)
    box(f"**{plain(verdict.headline)}**{against}", icon=icon)
    total = len(verdict.rules)
    title = "The release limit" if total == 1 else f"All {total} release limits"
    with st.expander(title, key=SECTION, on_change="rerun", bind="query-params") as section:
        if section.open:
            _table(verdict)
            st.caption(
                "A limit is met when the whole 95 % interval is within it. An interval across the "
                "limit is neither pass nor fail: more images would decide."
            )
            _change()


def _table(verdict: Verdict) -> None:
    """Every limit, those that stand against a pass first."""
    rows = [
        {
            "Outcome": outcome,
            "What is limited": judged.title,
            "Measured": judged.figure,
            "Limit": judged.limit,
            "Why": judged.because,
        }
        for outcome in _GRAVEST_FIRST
        for judged in verdict.having(outcome)
    ]
    shaded = pd.DataFrame(rows).style.map(
        lambda outcome: f"background-color: {_SHADES[outcome]}", subset=["Outcome"]
    )
    st.dataframe(
        shaded,
        hide_index=True,
        key="results_gate_table",
        height="content" if len(rows) <= MAX_SHOWN else 720,
        alt="Every limit of the release policy, what was measured, and whether the limit is met.",
        column_config={
            "Outcome": st.column_config.TextColumn(width=130),
            "What is limited": st.column_config.TextColumn(width=390),
            "Measured": st.column_config.TextColumn(help="With the 95 % interval in brackets."),
        },
    )


def _change() -> None:
    """Give limits, take them away, or get a file to start from; for operators."""
    if not acting.permits(Action.OPERATE):
        st.caption(
            "Operators give the limits, since every run of this workspace is judged by them."
        )
        return
    st.file_uploader(
        "Limits to judge every run by (policy.toml)",
        type="toml",
        max_upload_size=1,
        key=FILE,
        on_change=_keep,
        help="Checked before it is used. It replaces the current limits.",
    )
    kept = _kept()
    with st.container(horizontal=True):
        st.download_button(
            "Example to start from" if kept is None else "These limits",
            example() if kept is None else kept,
            file_name="policy.toml",
            mime="application/toml",
            key="results_gate_download",
            on_click="ignore",
            icon=":material/download:",
        )
        if kept is not None:
            st.button(
                "Remove the limits",
                key="results_gate_remove",
                on_click=_forget,
                icon=":material/delete:",
                help="Runs are then no longer judged. Download them first to keep the file.",
            )


def _kept() -> bytes | None:
    """The text of the policy; nothing of one that is there and cannot be read."""
    try:
        return release_policy.stored_text()
    except GscError:
        return b""


def _forget() -> None:
    try:
        release_policy.forget()
    except GscError as error:
        st.session_state[REFUSED] = str(error)


def _keep() -> None:
    """Take the file that was given; what is wrong with it is shown by the next draw."""
    file = st.session_state.get(FILE)
    if file is None:
        return
    try:
        release_policy.keep(received(file).read(MAX_BYTES + 1))
    except GscError as error:
        st.session_state[REFUSED] = str(error)
