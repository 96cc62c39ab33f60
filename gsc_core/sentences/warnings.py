"""Whether a threshold can be trusted: flagging all or nothing, or resting on too few pictures."""

import math
from typing import assert_never

from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    KeepId,
    Rule,
    Typed,
    Youden,
    smallest_calibration,
)
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run

FEW = 20  # pictures of a kind, under which a threshold that weighs them is guesswork


def extreme(decision: Decision) -> str | None:
    """The warning when what is wanted is best served without any threshold, else None.

    What keeps a share of familiar pictures has a warning of its own, `decision_words.shortage`.
    """
    if math.isfinite(decision.value) or isinstance(decision.rule, KeepId):
        return None
    what = "nothing" if decision.value > 0 else "every picture"
    return (
        f"What is asked for is best served by flagging {what}, so there is no threshold to keep: "
        "change the costs or the expected number of strangers, or take another detector."
    )


def rough(run: Run, decision: Decision) -> str | None:
    """The warning when a threshold can be set but rests on too few pictures, else None."""
    calibration = run.calibration_scores(decision.detector)
    if isinstance(decision.rule, Typed):
        if decision.rule.value < calibration.max():
            return None
        return (
            f"None of the {len(calibration):,} calibration pictures scores above this value: how "
            "rarely it flags a familiar picture, they cannot tell."
        )
    if not decision.halved:
        return None
    sizes = {name: len(rows) for name, rows in halves(run).setting.items()}
    smallest = min(sizes, key=lambda name: sizes[name])
    known, strangers = fewest(decision.rule)
    lacking = []
    if len(calibration) < known:
        lacking.append(f"{known:,} calibration pictures, and this run has {len(calibration):,}")
    if sizes[smallest] < strangers:
        lacking.append(
            f"{strangers:,} strangers of each set to set it with, and {smallest} has "
            f"{sizes[smallest]:,} in that half"
        )
    if not lacking:
        return None
    return (
        f"To tell where this threshold belongs takes {'; and '.join(lacking)}: on new pictures it "
        "may do much worse than it seems here."
    )


def fewest(rule: Rule) -> tuple[int, int]:
    """How many calibration pictures, and strangers of each set, it takes to tell a threshold.

    A share is known no finer than by one picture. So one familiar picture must not weigh more than
    all strangers do, nor one stranger more than all familiar pictures.
    """
    match rule:
        case CatchOod(share=share):
            return 0, smallest_calibration(share)
        case Youden():
            return FEW, FEW
        case F1(prevalence=prevalence):
            return _weighed((1 - prevalence) / prevalence)
        case Cost(miss=miss, alarm=alarm, prevalence=prevalence):
            return _weighed(alarm * (1 - prevalence) / (miss * prevalence))
        case KeepId() | Typed():
            return 0, 0  # no stranger is weighed
        case _:
            assert_never(rule)


def _weighed(familiar: float) -> tuple[int, int]:
    """From how much all familiar pictures weigh, all strangers weighing 1."""
    return max(FEW, math.ceil(familiar - 1e-9)), max(FEW, math.ceil(1 / familiar - 1e-9))
