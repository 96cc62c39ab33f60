"""How an image is prepared for the classifier, as a person would say it."""

from __future__ import annotations

from gsc_core.classifier.preprocessing import Preprocessing


def preparation(preprocessing: Preprocessing) -> str:
    """The preprocessing in one sentence."""
    height, width = preprocessing.crop
    mean, std = (
        ", ".join(f"{value:.3g}" for value in dict.fromkeys(values))
        for values in (preprocessing.mean, preprocessing.std)
    )
    rest = f"mean {mean}, standard deviation {std}."
    fitted = _fitted(preprocessing)
    if preprocessing.crop_mode != "center" and preprocessing.resize == preprocessing.crop:
        return f"{fitted}; {rest}"
    return f"{fitted} and its central {height}×{width} pixels are used; {rest}"


def _fitted(preprocessing: Preprocessing) -> str:
    resize, how = preprocessing.resize, preprocessing.interpolation
    if resize is None:
        return "The image is not resized"
    if isinstance(resize, int):
        return f"The shorter side becomes {resize} pixels ({how})"
    height, width = resize
    size = f"{height}×{width} pixels"
    if preprocessing.crop_mode == "squash":
        return f"The image is stretched to {size} ({how})"
    if preprocessing.crop_mode == "center":
        return f"The image is resized to cover {size} ({how})"
    red, green, blue = preprocessing.colour
    around = {(0, 0, 0): "black", (255, 255, 255): "white"}.get(
        preprocessing.colour, f"the colour {red}, {green}, {blue}"
    )
    return f"The image is resized to fit into {size} ({how}) and surrounded by {around}"


def typed(preprocessing: Preprocessing) -> str:
    """The same as `Preprocessing.parse` takes it."""
    height, width = preprocessing.crop
    parts = {"resize": "none", "crop": f"{height}x{width}" if height != width else str(height)}
    if preprocessing.resize is not None:
        size = preprocessing.resize
        parts["resize"] = str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
    if isinstance(preprocessing.resize, tuple) and preprocessing.crop_mode != "squash":
        parts["crop_mode"] = preprocessing.crop_mode
    if preprocessing.fill is not None:
        parts["fill"] = "/".join(map(str, preprocessing.fill))
    parts["interpolation"] = preprocessing.interpolation
    for key, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        shown = dict.fromkeys(values) if len({*values}) == 1 else values
        parts[key] = "/".join(f"{value:.9g}" for value in shown)
    return ",".join(f"{key}={value}" for key, value in parts.items())
