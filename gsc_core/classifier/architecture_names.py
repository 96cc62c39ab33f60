"""How a person names an architecture: in full, as `timm/resnet18`, or bare."""

from collections.abc import Collection


def full_name(name: str, known: Collection[str]) -> str | None:
    """The full one of the `known` names; a bare one is torchvision's, else timm's, else None."""
    candidates = (name, f"torchvision/{name}", f"timm/{name}")
    return next((each for each in candidates if each in known), None)
