"""The images that a threshold judges wrongly, the worst first."""

from dataclasses import dataclass

from gsc_core.run.decisions import Decision
from gsc_core.run.gallery import ordered
from gsc_core.run.layout import ID
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run


@dataclass(frozen=True)
class Mistakes:
    """Rows of test images. missed: unfamiliar and accepted, the most familiar looking first.

    false_alarms: familiar and flagged, the least familiar looking first.
    """

    missed: Rows
    false_alarms: Rows


def mistakes(run: Run, decision: Decision) -> Mistakes:
    """All test images that a decision judges wrongly, those that helped to set it among them.

    Raises GscError when the scores are missing or damaged.
    """
    at = decision.value
    return Mistakes(
        missed=ordered(
            run,
            decision.detector,
            sets=run.ood_sets,
            threshold=at,
            side="inside",
            descending=False,
        ),
        false_alarms=ordered(run, decision.detector, sets=[ID], threshold=at, side="outside"),
    )
