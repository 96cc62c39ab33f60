"""A choice among a run's detectors, by what they are called in words."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from gsc_core.run.stored import Run
from gsc_core.sentences.detector_names import called


def detector_choice(
    run: Run,
    detectors: Sequence[str],
    key: str,
    *,
    first: str,
    label: str = "Detector",
    called_so: Callable[[str], str] | None = None,
    **more: Any,
) -> str:
    """One of the `detectors`, at first the one named; the address keeps it.

    An earlier address, or one that a person wrote, may have its short name. `called_so` gives
    other words for each than `called`.
    """
    words = called_so or (lambda name: called(run, name))
    asked = st.query_params.get(key)
    if asked is not None and asked in detectors and asked != words(asked):
        st.session_state[key] = asked
        st.query_params[key] = words(asked)
    chosen: str = st.selectbox(
        label,
        list(detectors),
        index=list(detectors).index(first),
        format_func=words,
        key=key,
        bind="query-params",
        **more,
    )
    return chosen
