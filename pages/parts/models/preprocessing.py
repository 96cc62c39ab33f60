"""What is done to an image before the classifier sees it: said by the file, or by a person."""

import re
from typing import cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.preparation import preparation
from gsc_core.workspace.catalogue import catalogue
from pages.parts.shared.text import plain

CHOICES = {
    "auto": "From the file",
    "library": "The library's",
    "own": "My own",
}
HELP = (
    "It must match what the model was trained with, or every figure is off. A .safetensors file "
    "can state it; otherwise the usual values of its architecture are assumed, and marked as such."
)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
FITTINGS = {
    "center": "Keep the shape, cut off the rest",
    "squash": "Stretch to the size",
    "border": "Keep the shape, add a border",
}


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
        st.caption(plain(preparation(usual)))
        return usual
    st.caption("What the file says, otherwise what is usual, marked as assumed:")
    st.caption(plain(preparation(usual)))
    return None


def _default(stored: Preprocessing | None) -> str:
    if stored is None or stored.source in ("assumed", "file"):
        return "auto"
    return "library" if stored.source == "library" else "own"


def _values(prefix: str, start: Preprocessing, of: str) -> Preprocessing:
    """One field a value, filled in from `start`; those of another architecture are filled again."""
    _fill(prefix, start, of)
    mode = st.selectbox(
        "Fitting",
        list(FITTINGS),
        format_func=FITTINGS.__getitem__,
        key=f"{prefix}_crop_mode",
        help="Resize(256) of torchvision keeps the shape, Resize((224, 224)) stretches. A border "
        "is what letterboxing and padding to a square make.",
    )
    left, right = st.columns(2)
    interpolation = left.selectbox(
        "Interpolation",
        INTERPOLATIONS,
        key=f"{prefix}_interpolation",
        help="How pixels are resampled when the image is resized.",
    )
    size = _shorter_side(prefix, right) if mode == "center" else _size(prefix)
    if mode == "border":
        fill = right.text_input(
            "Colour of the border",
            key=f"{prefix}_fill",
            help="Red, green and blue from 0 to 255, or the word mean. 0 is black, 114 the grey "
            "of many detection models.",
        )
        size = f"{size},fill={_joined(fill)}"
    left, right = st.columns(2)
    mean = left.text_input(
        "Mean",
        key=f"{prefix}_mean",
        help="Subtracted from red, green and blue, which lie between 0 and 1.",
    )
    std = right.text_input(
        "Standard deviation", key=f"{prefix}_std", help="What red, green and blue are divided by."
    )
    return Preprocessing.parse(
        f"{size},crop_mode={mode},interpolation={interpolation},"
        f"mean={_joined(mean)},std={_joined(std)}"
    )


def _shorter_side(prefix: str, place: DeltaGenerator) -> str:
    """As `Preprocessing.parse` reads it."""
    resize = place.number_input(
        "Shorter side, pixels",
        min_value=0,
        max_value=4096,
        key=f"{prefix}_resize",
        help="The image is resized so that its shorter side has this many pixels. 0: not resized.",
    )
    return f"resize={resize or 'none'},{_crop(prefix)}"


def _size(prefix: str) -> str:
    """As `Preprocessing.parse` reads it."""
    height, width = (
        column.number_input(
            f"{name} after resizing",
            min_value=1,
            max_value=4096,
            key=f"{prefix}_resize_{name.lower()}",
        )
        for name, column in zip(("Height", "Width"), st.columns(2), strict=True)
    )
    return f"resize={height}x{width},{_crop(prefix)}"


def _crop(prefix: str) -> str:
    height, width = (
        column.number_input(
            f"Crop {name}", min_value=1, max_value=4096, key=f"{prefix}_crop_{name}"
        )
        for name, column in zip(("height", "width"), st.columns(2), strict=True)
    )
    return f"crop={height}x{width}"


def _fill(prefix: str, start: Preprocessing, of: str) -> None:
    mark = f"{prefix}_filled_for"
    pair = start.resize if isinstance(start.resize, tuple) else start.crop
    fields = {
        "crop_mode": start.crop_mode,
        "resize": min(pair) if isinstance(start.resize, tuple) else start.resize or 0,
        "resize_height": pair[0],
        "resize_width": pair[1],
        "fill": "mean" if start.fill is None else "  ".join(map(str, start.fill)),
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
