"""How far long work is: told by whoever does it, shown by whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a phase of the work is: `done` of `total` images, candidates or steps."""

    phase: str
    done: int
    total: int
