"""The words of image sets: what each role is for, and how far a set is."""

from typing import Literal

from gsc_core.evaluation.counts import number_of
from gsc_core.jobs.database import Readiness, StoredSet
from pages.parts.shared.text import size

ROLE_NAMES = {
    "id": "Familiar images",
    "ood": "Unfamiliar images",
    "calibration": "Calibration",
}
ROLE_MEANINGS = {
    "id": "What your model was made for (in-distribution, ID).",
    "ood": "What it was never meant to see (out-of-distribution, OOD).",
    "calibration": "More familiar images, to set thresholds with. Optional: an audit can "
    "set aside some of the familiar ones instead.",
}
Colour = Literal["blue", "orange", "red"]
BADGES: dict[Readiness, tuple[str, Colour]] = {
    Readiness.WAITING: ("Being read", "blue"),
    Readiness.REFUSED: ("Cannot be used", "red"),
}


def summary(stored: StoredSet) -> str:
    """A line about a set that was read: `1,000 images, 12 classes, 45 MB`."""
    parts = [number_of(stored.images, "image")]
    if stored.labels:
        parts.append(number_of(stored.labels, "class", "classes"))
    elif stored.role == "id":
        parts.append("no labels")
    left_out = stored.broken + stored.duplicates
    if left_out:
        parts.append(f"{left_out:,} left out")
    return ", ".join([*parts, size(stored.bytes)])
