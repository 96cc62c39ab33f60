"""How a person names an architecture: in full, as `timm/resnet18`, or bare."""

from collections.abc import Collection


def full_name(name: str, names: Collection[str]) -> str | None:
    """The full one of the `names`; a bare one is torchvision's, else timm's, else None."""
    candidates = (name, f"torchvision/{name}", f"timm/{name}")
    return next((full for full in candidates if full in names), None)
