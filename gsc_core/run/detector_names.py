"""Detectors that were renamed. Runs keep the names they were made with; both names are understood.

>>> name_in(("gsc-drop", "energy"), "gsc-published")
'gsc-drop'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

RENAMED: Final = {"gsc-published": "gsc-drop"}
"""What a detector was called once, and what it is called now."""


def current_name(name: str) -> str:
    """What a detector is called now, or each of several with `+` between."""
    return "+".join(RENAMED.get(part, part) for part in map(str.strip, name.split("+")))


def name_in(names: Collection[str], name: str) -> str:
    """By which of `names` a detector goes that is asked for by either name; else the same."""
    if name in names:
        return name
    return next((one for one in names if current_name(one) == current_name(name)), name)


def note_of(names: Iterable[str]) -> str | None:
    """One sentence on those of `names` that were renamed; None when none was."""
    former = dict.fromkeys(name.strip() for name in names if name.strip() in RENAMED)
    return " and ".join(f"{name} is now called {RENAMED[name]}" for name in former) or None
