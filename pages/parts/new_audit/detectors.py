"""Which detectors an audit takes and how each is set: made from what a detector says of itself."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from gsc_core.audit.spec import DetectorSpec
from gsc_core.detectors import DetectorFacts, Knob
from gsc_core.workspace.audits import QUICK
from gsc_core.workspace.catalogue import catalogue
from pages.parts.shared.audit_parts import AUTO_ENSEMBLE, GSC_AUTO, detector_title
from pages.parts.shared.text import SURROGATE, plain

GSC = "gsc"
USUAL = (GSC_AUTO, *QUICK)
BEST = (AUTO_ENSEMBLE, *USUAL)
OURS = {
    GSC_AUTO: f"auto, and a share of 0, mean: chosen for you, on surrogate images. {SURROGATE} "
    "What you set yourself is used as it is.",
    GSC: "The defaults follow the paper. Change one at a time and compare the runs.",
}
"""Detectors whose settings are shown separately, with a word about them."""

_FINE = 0.01  # a float below it is typed: no slider is that fine


def chosen_detectors() -> tuple[DetectorSpec, ...]:
    """The detectors to run, with those of their settings that were changed."""
    every = tuple(each.name for each in catalogue().detectors)
    with st.container(horizontal=True):
        for label, names, key in (
            (f"Quick: GSC and {len(USUAL) - 2} standard ones", USUAL, "audit_quick"),
            ("The best: all families, weighted", BEST, "audit_best"),
            (f"All {len(every)}", every, "audit_all"),
        ):
            st.button(label, key=key, on_click=_take, args=(names,))
    chosen: list[str] = st.multiselect(
        "Detectors",
        every,
        default=BEST,
        format_func=detector_title,
        key="audit_detectors",
        bind="query-params",
        wrap=True,
        help="Each gives every image an outlier score; one pass over the images serves all.",
    )
    if AUTO_ENSEMBLE in chosen:
        parts = len(_facts(AUTO_ENSEMBLE).parts)
        st.caption(
            f"The {parts} detectors that it weighs are scored with it, so they appear in the "
            "results too."
        )
    return _with_settings(chosen)


def _facts(name: str) -> DetectorFacts:
    return catalogue().detector(name)


def _take(names: Sequence[str]) -> None:
    st.session_state["audit_detectors"] = list(names)


def _with_settings(names: Sequence[str]) -> tuple[DetectorSpec, ...]:
    """Widgets for the settings of the chosen detectors, and what they say, as specifications."""
    settings: dict[str, dict[str, Any]] = {}
    for name in (each for each in OURS if each in names):
        with st.expander(f"Settings of {plain(_facts(name).title)}", key=_key("audit", name)):
            st.caption(OURS[name])
            settings[name] = _knobs(name)
    others = [name for name in names if name not in OURS and _facts(name).settings]
    if others:
        with st.expander("Settings of the other detectors", key="audit_others"):
            titles = [plain(_facts(name).title) for name in others]
            for name, tab in zip(others, st.tabs(titles, key="audit_tabs"), strict=True):
                with tab:
                    settings[name] = _knobs(name)
    return tuple(DetectorSpec(name=name, settings=settings.get(name, {})) for name in names)


def _knobs(name: str) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    changed = {}
    for at, knob in enumerate(_facts(name).settings):
        if at % 2 == 0:
            row = st.columns(2)
        with row[at % 2]:
            value = _widget(knob, f"{_key('knob', name)}_{knob.name}")
        if value is not None and value != knob.default:
            changed[knob.name] = value
    return changed


def _key(kind: str, name: str) -> str:
    return f"{kind}_{name.replace('-', '_')}"


def _widget(knob: Knob, key: str) -> Any:
    about: dict[str, Any] = {
        "label": plain(f"{knob.name.replace('_', ' ').capitalize()}: {knob.about}"),
        "help": plain(f"Default: {knob.default}"),
        "key": key,
        "bind": "query-params",
    }
    if knob.choices:
        return st.selectbox(options=knob.choices, index=knob.choices.index(knob.default), **about)
    if isinstance(knob.default, str):
        return st.text_input(value=knob.default, **about).strip() or knob.default
    whole = isinstance(knob.default, int)
    if knob.low == 0 and knob.high == 1 and not 0 < knob.default < _FINE:
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
