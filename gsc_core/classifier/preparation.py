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
    rest = f"mean {mean}, deviation {std}."
    fitted = _fitted(preprocessing)
    if preprocessing.crop_mode != "center" and preprocessing.resize == preprocessing.crop:
        return f"{fitted}; {rest}"
    return f"{fitted}, its central {height}×{width} is used; {rest}"


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
