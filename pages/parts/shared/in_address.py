"""Choices that the address holds by short names: what a link names is chosen, and what is chosen
is named.

Streamlit's own binding writes the words of a choice: they have counts in them, are put better one
day, and may be the same for two classes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T", str, int)


def segments(
    label: str,
    titles: Mapping[str, str],
    key: str,
    *,
    usual: str | None = None,
    labelled: bool = False,
) -> str:
    """One of the `titles`, by its name; at first the `usual` one, else the first."""
    usual = usual or next(iter(titles))
    _choose_what_is_asked(list(titles), titles.__getitem__, key, usual)
    chosen = st.segmented_control(
        label,
        list(titles),
        required=True,
        format_func=titles.__getitem__,
        key=key,
        on_change=partial(_put_in_address, key, usual),
        label_visibility="visible" if labelled else "collapsed",
        wrap=True,
    )
    return chosen or usual


def dropdown(
    label: str, options: Sequence[T], words: Callable[[T], str], key: str, *, usual: T, **more: Any
) -> T:
    """One of the `options`, shown by its `words`; at first the `usual` one.

    `more` are arguments of `st.selectbox`.
    """
    _choose_what_is_asked(options, words, key, usual)
    chosen: T = st.selectbox(
        label,
        list(options),
        format_func=words,
        key=key,
        on_change=partial(_put_in_address, key, usual),
        **more,
    )
    return chosen


def typed(label: str, key: str, *, longest: int, **more: Any) -> str:
    """What is typed, without space around it and with at most so many letters; at first nothing.

    `more` are arguments of `st.text_input`.
    """
    st.session_state[key] = st.query_params.get(key, "")[:longest]
    keep = partial(_put_in_address, key, "")
    text: str = st.text_input(label, key=key, max_chars=longest, on_change=keep, **more)
    return text.strip()


def _choose_what_is_asked(
    options: Sequence[T], words: Callable[[T], str], key: str, usual: T
) -> None:
    """Choose what the address names; earlier addresses have the words. Else the usual one."""
    asked = st.query_params.get(key)
    by_name = {str(option): option for option in options}
    if asked is not None and asked not in by_name:
        by_name = {words(option): option for option in reversed(options)}
    st.session_state[key] = usual if asked is None else by_name.get(asked, usual)


def _put_in_address(key: str, usual: str | int) -> None:
    """What is usual needs no word there, and goes on being usual where that is another one day."""
    chosen = st.session_state[key]
    if chosen == usual:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = str(chosen)
