"""Words on a page: terms explained, a user's text made harmless, times and sizes."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

UNFAMILIAR = (
    "Unfamiliar images are out-of-distribution (OOD): the classifier was never meant to see them. "
    "Familiar images are in-distribution (ID), like those it was made for."
)
SURROGATE = (
    "Surrogate images are made from your own calibration images, for example enlarged bits or "
    "shuffled patches. They stand for unfamiliar images while detectors are set up."
)
WRONG_WAY = (
    "This detector points the wrong way: unfamiliar images, or the surrogate images that stand "
    "for them, score lower than familiar images."
)
_NO_BREAK = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"


def plain(text: str) -> str:
    """A user's text for a Markdown element, shown as it is: no markup, links, icons or formulas."""
    printable = "".join(c if c.isprintable() or c in _NO_BREAK else " " for c in text)
    escaped = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable)
    # Links, :icons: and arrows are found after escapes are read; a word joiner breaks them up.
    # A figure such as 0.5 stays whole.
    dot = r"(?<!\d)\\\.(?=\S)|\\\.(?=[^\s\d])"
    escaped = re.sub(r"(?<=\d) (?=\\%)", "\N{NO-BREAK SPACE}", escaped)  # no line ends in "95"
    return re.sub(rf"(?<=\S)(\\[:@>]|{dot})", "\N{WORD JOINER}\\1", escaped)


def duration(seconds: float) -> str:
    """A time a person would say: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int) -> str:
    """Bytes as a person would say them: `12 kB`, `3.4 MB`."""
    if count < 1000:
        return f"{count} bytes"
    value, unit = next(
        (count / factor, unit)
        for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
        if count >= factor
    )
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def when(seconds: float) -> str:
    """Date and time where the reader is."""
    try:
        zone = ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    return f"{datetime.fromtimestamp(seconds, zone):%d %b %Y, %H:%M}"
