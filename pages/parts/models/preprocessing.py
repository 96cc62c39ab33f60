"""What is done to an image before the classifier sees it: said by the file, or by a person."""

import re
from typing import cast

import streamlit as st

from gsc_core.classifier import Preprocessing
from gsc_core.workspace.catalogue import catalogue
from pages.parts.shared.text import plain

CHOICES = {
    "auto": "As the file says",
    "library": "As the library does it",
    "own": "My own values",
}
HELP = (
    "It must match what the model was trained with, or every figure is off. A .safetensors file "
    "can state it; otherwise the usual ImageNet values are assumed, and marked as assumed."
)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def preprocessing_form(
    prefix: str, architecture: str | None, stored: Preprocessing | None = None
) -> Preprocessing | None:
    """Ask for the preprocessing; None leaves it to the file. Keys begin with `prefix`.

    `stored` is what a model has now, None for a new one. Raises SpecError for values that cannot
    be meant.
    """
    usual = Preprocessing() if architecture is None else catalogue().architectures[architecture]
    choices = [c for c in CHOICES if c != "library" or usual.source == "library"]
    choice = st.segmented_control(
        "Preprocessing",
        choices,
        default=_default(stored) if _default(stored) in choices else choices[0],
        required=True,
        format_func=CHOICES.__getitem__,
        key=f"{prefix}_preprocessing",
        help=HELP,
    )
    if choice == "own":
        return _values(prefix, stored or usual, f"{architecture}")
    if choice == "library":
        st.caption(plain(in_words(usual)))
        return usual
    st.caption("What the file says, otherwise the usual ImageNet values, marked as assumed.")
    return None


def in_words(preprocessing: Preprocessing) -> str:
    """The preprocessing as a person would say it."""
    height, width = preprocessing.crop
    resized = (
        "The image is not resized"
        if preprocessing.resize is None
        else f"The shorter side becomes {preprocessing.resize} pixels ("
        f"{preprocessing.interpolation})"
    )
    mean, std = (
        ", ".join(f"{value:.3g}" for value in dict.fromkeys(values))
        for values in (preprocessing.mean, preprocessing.std)
    )
    return f"{resized}, its central {height}×{width} is used; mean {mean}, deviation {std}."


def _default(stored: Preprocessing | None) -> str:
    if stored is None or stored.source in ("assumed", "file"):
        return "auto"
    return "library" if stored.source == "library" else "own"


def _values(prefix: str, start: Preprocessing, of: str) -> Preprocessing:
    """One field a value, filled in from `start`; those of another architecture are filled anew."""
    _fill(prefix, start, of)
    size, kept = st.columns(2)
    resize = size.number_input(
        "Shorter side, pixels",
        min_value=0,
        max_value=4096,
        key=f"{prefix}_resize",
        help="The image is resized so that its shorter side has this many pixels. 0: not resized.",
    )
    interpolation = kept.selectbox(
        "Interpolation",
        INTERPOLATIONS,
        key=f"{prefix}_interpolation",
        help="How pixels are resampled when the image is resized.",
    )
    height = size.number_input(
        "Crop height", min_value=1, max_value=4096, key=f"{prefix}_crop_height"
    )
    width = kept.number_input("Crop width", min_value=1, max_value=4096, key=f"{prefix}_crop_width")
    mean = size.text_input(
        "Mean",
        key=f"{prefix}_mean",
        help="Subtracted from red, green and blue, which lie between 0 and 1.",
    )
    std = kept.text_input(
        "Standard deviation", key=f"{prefix}_std", help="What red, green and blue are divided by."
    )
    return Preprocessing.parse(
        f"resize={resize or 'none'},crop={height}x{width},interpolation={interpolation},"
        f"mean={_joined(mean)},std={_joined(std)}"
    )


def _fill(prefix: str, start: Preprocessing, of: str) -> None:
    mark = f"{prefix}_filled_for"
    fields = {
        "resize": start.resize or 0,
        "interpolation": start.interpolation,
        "crop_height": start.crop[0],
        "crop_width": start.crop[1],
        "mean": "  ".join(f"{value:g}" for value in start.mean),
        "std": "  ".join(f"{value:g}" for value in start.std),
    }
    anew = st.session_state.get(mark) != of
    for field, value in fields.items():
        if anew or f"{prefix}_{field}" not in st.session_state:
            st.session_state[f"{prefix}_{field}"] = value
    st.session_state[mark] = of


def _joined(numbers: str | None) -> str:
    """`0.5, 0.5 0.5` as `0.5/0.5/0.5`."""
    return "/".join(re.findall(r"[^\s,;/]+", cast(str, numbers)))
