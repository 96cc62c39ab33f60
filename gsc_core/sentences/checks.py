"""What was checked about the model before the scoring, and how it came out."""

from __future__ import annotations

from collections.abc import Sequence

from gsc_core.run.document import ModelCheck
from gsc_core.run.stored import Run

CHECKS_TITLE = "What was checked about the model"


def checks_of(run: Run) -> tuple[ModelCheck, ...]:
    """The run's checks: warnings, what could not be checked, the rest; none in earlier runs."""
    order = ("warning", "unchecked", "fine")
    return tuple(sorted(run.document.checks, key=lambda check: order.index(check.outcome)))


def warnings_of(run: Run) -> tuple[str, ...]:
    """What the checks warn of: with any of these, the figures may not be of the model meant."""
    return tuple(check.sentence for check in checks_of(run) if check.outcome == "warning")


def in_short(checks: Sequence[ModelCheck]) -> str:
    """The title with how it came out: `…: all fine`, `…: 1 warning, 1 not checked`."""
    warned = sum(check.outcome == "warning" for check in checks)
    unchecked = sum(check.outcome == "unchecked" for check in checks)
    parts = [f"{warned} warning{'s' if warned > 1 else ''}"] if warned else []
    parts += [f"{unchecked} not checked"] if unchecked else []
    return f"{CHECKS_TITLE}: {', '.join(parts) or 'all fine'}"
