"""Count what `summary` stores of a run."""

from __future__ import annotations

from gsc_core.errors import GscError
from gsc_core.run.layout import SCORES_FILE
from gsc_core.run.picking import candidates
from gsc_core.run.stored import Run
from gsc_core.run.summary import Summary
from gsc_core.run.winners import winners

SHOWN_FIRST = "fpr95"
"""The metric that a results page opens with; a paired test of AUROCs takes ten times longer."""


def summarised(run: Run) -> Summary:
    """What pages show of all scores of a run that has no summary yet."""
    try:
        compared = candidates(run)
    except GscError:  # the page says why
        compared = ()
    return Summary(
        scores_bytes=(run.path / SCORES_FILE).stat().st_size,
        candidates=compared,
        level={SHOWN_FIRST: {one.ood_set: one.level for one in winners(run, SHOWN_FIRST)}},
    )
