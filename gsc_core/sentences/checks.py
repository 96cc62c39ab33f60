"""What was checked about the model before the scoring, and how it came out."""

from __future__ import annotations

from collections.abc import Sequence

from gsc_core.run.document import ModelCheck
from gsc_core.run.stored import Run

CHECKS_TITLE = "What was checked about the model"


def checks_of(run: Run) -> tuple[ModelCheck, ...]:
    """The run's checks, warnings first; none in runs of earlier versions."""
    return tuple(sorted(run.document.checks, key=lambda check: check.outcome != "warning"))


def warnings_of(run: Run) -> tuple[str, ...]:
    """What the checks warn of: with any of these, the figures may not be of the model meant."""
    return tuple(check.sentence for check in checks_of(run) if check.outcome == "warning")


def in_short(checks: Sequence[ModelCheck]) -> str:
    """The title with how it came out: `…: all fine`, `…: 1 warning`."""
    count = sum(check.outcome == "warning" for check in checks)
    found = f"{count} warning{'s' if count > 1 else ''}" if count else "all fine"
    return f"{CHECKS_TITLE}: {found}"
