"""A threshold and what it does, in sentences for a reader without training."""

from gsc_core.evaluation import counts
from gsc_core.evaluation.counts import in_1000, percent
from gsc_core.evaluation.thresholds import (
    Acceptance,
    Effect,
    ThresholdRule,
    promise,
    smallest_calibration,
    true_share,
)
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run


def between(found: Acceptance) -> str:
    """The interval as counts in 1,000: `928 to 968`."""
    return counts.between(found.low, found.high)


def familiar_sentence(found: Effect) -> str:
    """How many familiar images are accepted and how many are flagged."""
    passing, flagged = counts.parted(found.id.share)
    return (
        f"Of 1,000 familiar images, {passing} are accepted (95 % interval {between(found.id)}) "
        f"and {flagged} are flagged."
    )


def strangers_sentence(found: Effect) -> str:
    """How many unfamiliar images would be accepted: of the one set, or on average with extremes."""
    sets = found.ood
    if len(sets) == 1:
        ((name, one),) = sets.items()
        return (
            f"Of 1,000 unfamiliar images from {name}, {in_1000(one.share)} would be accepted (95 % "
            f"interval {between(one)})."
        )
    least = min(sets, key=lambda name: sets[name].share)
    most = max(sets, key=lambda name: sets[name].share)
    mean = f"Of 1,000 unfamiliar images, {in_1000(found.ood_share)} would be accepted"
    if sets[least].share == sets[most].share:
        return f"{mean}, the same from each of {len(sets)} sets."
    return (
        f"{mean}, the mean of {len(sets)} sets: fewest from {least} "
        f"({in_1000(sets[least].share)}), most from {most} ({in_1000(sets[most].share)})."
    )


def basis_sentence(run: Run, decision: Decision, found: Effect) -> str:
    """What the threshold was set on, what that promises, and whether the test confirms it."""
    rule = decision.rule
    if rule.needs_ood:
        return _shown_on(run, decision)
    if rule.promised is None:
        how = "by hand" if rule.by_hand else "on calibration images"
        return f"This threshold was set {how}: nothing is promised beyond what the test shows."
    if decision.detector in run.in_sample:
        return (
            "This threshold was set on images that its detector has learned from: nothing is "
            "promised beyond what the test shows."
        )
    calibration = len(run.calibration_scores(decision.detector))
    made = promise(calibration, rule.promised, found.id.total)
    # Cross-conformal scores promise less exactly than split-conformal ones.
    average = "about" if _learns(run, decision.detector) else "at least"
    text = (
        f"The {calibration:,} calibration images promise that on average {average} "
        f"{in_1000(rule.promised)} of 1,000 familiar images are accepted; by chance alone, a test "
        f"of this size may show {counts.between(made.low, made.high)}. This test showed "
        f"{in_1000(found.id.share)}"
    )
    shown = [round(1000 * share) for share in (made.low, found.id.share, made.high)]
    if shown == sorted(shown):
        return f"{text}: the promise holds."
    side = "fewer" if shown[1] < shown[0] else "more"
    return (
        f"{text}, {side} than that. Either this is chance (as in 1 of 20 tests), or the familiar "
        "test images differ from the calibration images."
    )


def stray_sentence(run: Run, decision: Decision) -> str | None:
    """How far the share truly accepted can stray from the one asked for; None where none is."""
    promised = decision.rule.promised
    if promised is None or decision.detector in run.in_sample:
        return None
    calibration = len(run.calibration_scores(decision.detector))
    if calibration < smallest_calibration(promised):
        return None
    truly = true_share(calibration, promised)
    return (
        f"Set on {calibration:,} calibration images, a threshold for {percent(promised)} truly "
        f"accepts between {percent(truly.low, 1)} and {percent(truly.high, 1)} of all familiar "
        "images in 19 of 20 cases; more calibration images bring the two closer."
    )


def _shown_on(run: Run, decision: Decision) -> str:
    """Which unfamiliar images set the threshold, and which test it."""
    if not decision.halved:
        return (
            "This threshold was set on the same unfamiliar images that test it: others may be "
            "accepted more often."
        )
    parted = halves(run)
    setting, testing = (sum(map(len, half.values())) for half in (parted.setting, parted.testing))
    return (
        f"This threshold was set on one half of the unfamiliar images ({setting:,} images) and "
        f"tested on the other half ({testing:,}), which had no part in setting it: unfamiliar "
        "images of other kinds may be accepted more often."
    )


def _learns(run: Run, detector: str) -> bool:
    """Whether a detector is fitted on calibration images; if the run does not say, it may be."""
    record = run.record(detector)
    return record is None or "images" in record.fitted_with


def shortage(rule: ThresholdRule, calibration: int) -> str | None:
    """The warning when there are too few calibration images for what is asked, else None."""
    if rule.promised is None:
        return None
    needed = smallest_calibration(rule.promised)
    if calibration >= needed:
        return None
    return (
        f"Accepting {percent(rule.promised)} of familiar images takes {needed:,} calibration "
        f"images, and this run has {calibration:,}: ask for a smaller share, or calibrate with "
        "more."
    )


def learned(decision: Decision, run: Run) -> str | None:
    """The warning when a threshold rests on the very images its detector learned from."""
    if decision.rule.needs_ood or decision.detector not in run.in_sample:
        return None
    return (
        f"There were too few calibration images to leave some out, so {decision.detector} has "
        "learned from those that set its threshold: expect more familiar images to be flagged "
        "than asked for, or calibrate with more."
    )
