"""Which detectors an audit takes and how each is set: made from what a detector says of itself."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from gsc_core.detectors import CATALOGUE, Knob, find
from gsc_core.spec import DetectorSpec
from gsc_core.workspace.audits import QUICK
from pages.parts.text import plain

EVERY = tuple(detector.name for detector in CATALOGUE)
OURS = "gsc"
_FINE = 0.01  # a float below it is typed: no slider is that fine


def chosen_detectors() -> tuple[DetectorSpec, ...]:
    """The detectors to run, with those of their settings that were changed."""
    with st.container(horizontal=True):
        for label, names, key in (
            (f"Quick: GSC and {len(QUICK) - 1} standard ones", QUICK, "audit_quick"),
            (f"All {len(EVERY)}", EVERY, "audit_all"),
        ):
            st.button(label, key=key, on_click=_take, args=(names,))
    chosen: list[str] = st.multiselect(
        "Detectors",
        EVERY,
        default=QUICK,
        format_func=lambda name: find(name).title,
        key="audit_detectors",
        bind="query-params",
        wrap=True,
        help="Each gives every picture an outlier score; one pass over the pictures serves all.",
    )
    return _with_settings(chosen)


def _take(names: Sequence[str]) -> None:
    st.session_state["audit_detectors"] = list(names)


def _with_settings(names: Sequence[str]) -> tuple[DetectorSpec, ...]:
    """Widgets for the settings of the chosen detectors, and what they say, as specifications."""
    settings: dict[str, dict[str, Any]] = {}
    if OURS in names:
        with st.expander("Settings of Gradient Short-Circuit", key="audit_gsc"):
            st.caption("The defaults follow the paper. Change one at a time and compare the runs.")
            settings[OURS] = _knobs(OURS)
    others = [name for name in names if name != OURS and find(name).knobs()]
    if others:
        with st.expander("Settings of the other detectors", key="audit_others"):
            titles = [plain(find(name).title) for name in others]
            for name, tab in zip(others, st.tabs(titles, key="audit_tabs"), strict=True):
                with tab:
                    settings[name] = _knobs(name)
    return tuple(DetectorSpec(name=name, settings=settings.get(name, {})) for name in names)


def _knobs(name: str) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    changed = {}
    for at, knob in enumerate(find(name).knobs()):
        if at % 2 == 0:
            row = st.columns(2)
        with row[at % 2]:
            value = _widget(knob, f"knob_{name.replace('-', '_')}_{knob.name}")
        if value is not None and value != knob.default:
            changed[knob.name] = value
    return changed


def _widget(knob: Knob, key: str) -> Any:
    about: dict[str, Any] = {
        "label": plain(f"{knob.name.replace('_', ' ').capitalize()}: {knob.about}"),
        "help": plain(f"Default: {knob.default}"),
        "key": key,
        "bind": "query-params",
    }
    if knob.choices:
        return st.selectbox(options=knob.choices, index=knob.choices.index(knob.default), **about)
    whole = isinstance(knob.default, int)
    if knob.low == 0 and knob.high == 1 and knob.default >= _FINE:
        return st.slider(min_value=0.0, max_value=1.0, value=knob.default, step=0.01, **about)
    # A float even where it is whole: Streamlit fails on an infinity in the address for an integer.
    value = st.number_input(
        min_value=None if knob.low is None else float(knob.low),
        max_value=None if knob.high is None else float(knob.high),
        value=float(knob.default),
        step=1.0 if whole else max(knob.default / 10, 1e-7),
        format="%.0f" if whole else "%g",
        **about,
    )
    return round(value) if whole and value is not None else value
