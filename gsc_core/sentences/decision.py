"""Who or what decided which detector raises the alarm, and by which images that is judged."""

from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.earlier import in_preference
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run


def standing_sentence(run: Run, decision: Decision) -> str:
    """Which decision the run is judged by: a person's, with who, when and their note, or none's."""
    what = f"{decision.detector} at {decision.value:.4g} ({decision.rule.words()})"
    if decision.chosen is None:
        return (
            f"No threshold has been chosen for this run yet, so the default decides: {what}, named "
            "before any unfamiliar image was seen."
        )
    by = f" by {decision.who}" if decision.who else ""
    note = f" Note: {decision.note}" if decision.note else ""
    return f"The run's threshold: {what}, chosen {decision.chosen:%d %B %Y}{by}.{note}"


def picked_sentence(run: Run, decision: Decision) -> str:
    """On which images a picked detector is judged; empty for the one that was named beforehand."""
    usual = decisions.default_detector(run)
    if decision.detector == usual:
        return ""
    if not decision.picked:
        return (
            f"{decision.detector} was picked after the audit, by the same unfamiliar images that "
            "are counted here: others may be accepted more often."
        )
    parted = halves(run)
    picking, testing = (sum(map(len, half.values())) for half in (parted.setting, parted.testing))
    return (
        f"{decision.detector} was picked after the audit, in place of {usual}: one half of the "
        f"unfamiliar images ({picking:,} images) is to choose by, and all counts are of the other "
        f"half ({testing:,})."
    )


def excused_sentence(run: Run, decision: Decision) -> str:
    """Why another detector than the usual one decides by default; empty where that is no excuse."""
    if decision.detector != decisions.default_detector(run):
        return ""
    order = in_preference([*run.excused, decision.detector])
    before = order[: order.index(decision.detector)]
    if not before:
        return ""
    return (
        f"{before[0]} would decide by default and was left out here, so {decision.detector} does."
    )
