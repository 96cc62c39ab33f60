"""One thing that was looked at, and what an operator should do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How something stands: `WARN` works, and should not stay so."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """What was looked at and how it stands; the sentence says what to do where it is not good."""

    name: str
    level: Level
    sentence: str


def worst(checks: list[Check]) -> Level:
    """The level of all together."""
    levels = {check.level for check in checks}
    return next((level for level in (Level.BAD, Level.WARN) if level in levels), Level.GOOD)
