"""Who or what decided which detector raises the alarm, and by which images that is judged."""

import math

from gsc_core.run import decisions, picking
from gsc_core.run.decisions import Decision
from gsc_core.run.earlier import in_preference
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run


def standing_sentence(run: Run, decision: Decision) -> str:
    """Which decision the run is judged by: a person's, with who, when and their note, or none's."""
    what = f"{decision.detector} {_at(decision.value)} ({decision.rule.words()})"
    if decision.chosen is None:
        return (
            f"No threshold has been chosen for this run yet, so the default decides: {what}, named "
            "before any unfamiliar image was seen."
        )
    by = f" by {decision.who}" if decision.who else ""
    note = f" Note: {decision.note}" if decision.note else ""
    return f"The run's threshold: {what}, chosen on {decision.chosen:%d %B %Y}{by}.{note}"


def _at(threshold: float) -> str:
    if math.isfinite(threshold):
        return f"at {threshold:.4g}"
    return "with no threshold, so that it flags " + ("nothing" if threshold > 0 else "everything")


def picked_sentence(run: Run, decision: Decision, *, trial: bool = False) -> str:
    """On which images a picked detector is judged; empty for the one that was named beforehand.

    `trial` is for one that is only tried, as in `decisions.effect_of`.
    """
    usual = decisions.default_detector(run)
    if decision.detector == usual:
        return ""
    if not decision.picked:
        return (
            f"{decision.detector} was picked after the audit, by the same unfamiliar images that "
            "are counted here: others may be accepted more often."
        )
    parted = halves(run)
    choosing, testing = (sum(map(len, half.values())) for half in (parted.setting, parted.testing))
    if trial:
        return (
            f"While you try {decision.detector} in place of {usual}, all counts are of one half of "
            f"the unfamiliar images ({choosing:,} images), the one to choose by. Once you use this "
            f"threshold, every page counts on the other half ({testing:,})."
        )
    return (
        f"{decision.detector} was picked after the audit, in place of {usual}: one half of the "
        f"unfamiliar images ({choosing:,} images) is for choosing, and all counts are of the other "
        f"half ({testing:,})."
    )


def favourite_sentence(run: Run) -> str:
    """Which detector does best on these images, that it was picked afterwards, and by how much."""
    found = picking.favourite(run)
    if found is None:
        best = run.best().detector
        return f"{best}, which was named beforehand, also does best on these images."
    difference = found.test.difference
    ends = (difference.value, difference.high, difference.low)
    below, least, most = (f"{-100 * end + 0.0:.1f}".replace("-", "\N{MINUS SIGN}") for end in ends)
    by = (
        f"{found.detector} does best on these images, but it was picked afterwards, among "
        f"{found.others + 1} detectors, so its figures flatter it. Its FPR95 is {below} points "
        f"below that of {found.usual}, which was named beforehand (95 % interval of this pair "
        f"alone {least} to {most})"
    )
    if found.test.differs():
        return f"{by}: it is better, even when corrected for all comparisons (Holm)."
    return (
        f"{by}: corrected for all comparisons (Holm), these images do not show that it is better."
    )


def excused_sentence(run: Run, decision: Decision) -> str:
    """Why not the usual detector decides by default; empty where that has no excuse."""
    if decision.detector != decisions.default_detector(run):
        return ""
    order = in_preference([*run.excused, decision.detector])
    before = order[: order.index(decision.detector)]
    if not before:
        return ""
    return (
        f"{before[0]} would decide by default, but was left out here, so {decision.detector} does."
    )
