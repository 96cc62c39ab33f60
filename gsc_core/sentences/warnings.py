"""Whether a threshold can be trusted: flagging all or nothing, or resting on too few images."""

import math

from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.thresholds import CatchOod
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run


def extreme(decision: Decision) -> str | None:
    """The warning when what is wanted is best served without any threshold, else None.

    A rule that promises to accept a share of familiar images has a warning of its own, `shortage`.
    """
    if math.isfinite(decision.value) or decision.rule.promised is not None:
        return None
    if isinstance(decision.rule, CatchOod):
        few = f"{decision.rule.fewest()[1]:,}"
        return (
            f"Catching {percent(decision.rule.share)} of unfamiliar images takes about {few} "
            "unfamiliar images of each set to set the threshold on, and there are fewer: ask for a "
            "smaller share, or audit with more."
        )
    what = "nothing" if decision.value > 0 else "every image"
    return (
        f"What is asked for is best served by flagging {what}, so there is no threshold to set: "
        "change the costs or the expected number of unfamiliar images, or choose another detector."
    )


def rough(run: Run, decision: Decision) -> str | None:
    """The warning when a threshold can be set but rests on too few images, else None."""
    calibration = run.calibration_scores(decision.detector)
    if decision.rule.by_hand:
        if decision.value < calibration.max():
            return None
        return (
            f"None of the {len(calibration):,} calibration images scores above this value, so they "
            "cannot say how rarely it flags a familiar image."
        )
    if not decision.halved:
        return None
    sizes = {name: len(rows) for name, rows in halves(run).setting.items()}
    smallest = min(sizes, key=lambda name: sizes[name])
    known, strangers = decision.rule.fewest()
    lacking = []
    if len(calibration) < known:
        lacking.append(f"{known:,} calibration images, and this run has {len(calibration):,}")
    if sizes[smallest] < strangers:
        lacking.append(
            f"{strangers:,} unfamiliar images of each set to set it on, and {smallest} has "
            f"{sizes[smallest]:,} in that half"
        )
    if not lacking:
        return None
    return (
        f"Setting this threshold reliably takes {'; and '.join(lacking)}: on new images it may do "
        "much worse than it seems here."
    )
