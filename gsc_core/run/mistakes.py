"""The images that a threshold judges wrongly: how many, and the worst."""

from dataclasses import dataclass

import numpy as np

from gsc_core.run import decisions
from gsc_core.run.decisions import Decision, Part
from gsc_core.run.gallery import Wanted, in_order
from gsc_core.run.layout import ID
from gsc_core.run.stored import Run


@dataclass(frozen=True)
class Mistakes:
    """How many test images. missed: unfamiliar and accepted. false_alarms: familiar and flagged."""

    missed: int
    false_alarms: int


def mistakes(run: Run, decision: Decision) -> Mistakes:
    """All test images that a decision judges wrongly, those that helped to set it among them.

    Raises GscError when the scores are missing or damaged.
    """
    effect = decisions.effect_at(run, decision.detector, decision.value, "all")
    return Mistakes(sum(one.accepted for one in effect.ood.values()), effect.id.flagged)


def worst_missed(run: Run, detector: str, value: float, part: Part, most: int) -> tuple[int, ...]:
    """Rows of the unfamiliar images of a part of each set that a threshold accepts, at most so
    many: the most familiar looking first.

    Raises GscError when the scores are missing or damaged.
    """
    rows = in_order(run, detector, missed_at(run, value))
    if part == "all":
        return tuple(rows[:most].tolist())
    tested = np.concatenate(list(decisions.rows_of_part(run, part).values()))
    return tuple(rows.whole[np.isin(rows.whole, tested)][:most].tolist())


def missed_at(run: Run, value: float) -> Wanted:
    """The unfamiliar images that a threshold accepts, the most familiar looking first."""
    return Wanted(sets=run.ood_sets, threshold=value, side="inside", descending=False)


def false_alarms_at(value: float) -> Wanted:
    """The familiar images that a threshold flags, the least familiar looking first."""
    return Wanted(sets=(ID,), threshold=value, side="outside")


def nearest_to(value: float) -> tuple[Wanted, Wanted]:
    """The test images that a threshold accepts and those that it flags, the nearest first."""
    return (
        Wanted(threshold=value, side="inside"),
        Wanted(threshold=value, side="outside", descending=False),
    )
