"""A threshold and what it does, in sentences for a reader without training."""

from typing import assert_never

from gsc_core.evaluation.thresholds import (
    F1,
    CatchOod,
    Cost,
    Effect,
    KeepId,
    Passed,
    Rule,
    Typed,
    Youden,
    promise,
    smallest_calibration,
)
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.stored import Run
from gsc_core.sentences import counts
from gsc_core.sentences.counts import in_1000


def rule_words(rule: Rule) -> str:
    """The rule as one would order it: `keep 95 % of familiar pictures`."""
    match rule:
        case KeepId(share=share):
            return f"keep {percent(share)} of familiar pictures"
        case CatchOod(share=share):
            return f"catch {percent(share)} of strangers"
        case Youden():
            return "widest gap between familiar pictures and strangers"
        case F1(prevalence=prevalence):
            return (
                "best balance of strangers caught and alarms that are right (F1), expecting "
                f"{strangers_in_1000(prevalence)}"
            )
        case Cost(miss=miss, alarm=alarm, prevalence=prevalence):
            return (
                f"least cost, {_compared(miss, alarm)}, expecting {strangers_in_1000(prevalence)}"
            )
        case Typed():
            return "set by hand"
        case _:
            assert_never(rule)


def percent(share: float) -> str:
    """`95 %`, `99.9 %`."""
    return f"{100 * share:.6g} %"


def strangers_in_1000(prevalence: float) -> str:
    """What one expects: `10 strangers in 1,000 pictures`."""
    number = f"{1000 * prevalence:.6g}"
    return f"{number} {'stranger' if number == '1' else 'strangers'} in 1,000 pictures"


def _compared(miss: float, alarm: float) -> str:
    """Which of the two mistakes is worse, and how many times."""
    worse, other = "a stranger that passes", "a familiar picture flagged"
    if miss < alarm:
        worse, other = other, worse
    ratio = max(miss, alarm) / min(miss, alarm)
    number = f"{ratio:,.0f}" if ratio >= 1000 else f"{ratio:.4g}"
    times = "" if number == "1" else f"{number} times "
    return f"{worse} being {times}as bad as {other}"


def between(found: Passed) -> str:
    """The interval as counts in 1,000: `928 to 968`."""
    return counts.between(found.low, found.high)


def familiar_sentence(found: Effect) -> str:
    """What passes and what is flagged of familiar pictures."""
    passing, flagged = counts.parted(found.known.share)
    return (
        f"Of 1,000 familiar pictures {passing} pass (95 % interval {between(found.known)}) "
        f"and {flagged} are flagged."
    )


def strangers_sentence(found: Effect) -> str:
    """What would pass of strangers: of the one set, or of all with the best and the worst."""
    sets = found.strangers
    if len(sets) == 1:
        ((name, one),) = sets.items()
        return (
            f"Of 1,000 strangers from {name} {in_1000(one.share)} would pass "
            f"(95 % interval {between(one)})."
        )
    least = min(sets, key=lambda name: sets[name].share)
    most = max(sets, key=lambda name: sets[name].share)
    mean = f"Of 1,000 strangers {in_1000(found.strangers_share)} would pass"
    if sets[least].share == sets[most].share:
        return f"{mean}, the same from each of {len(sets)} sets."
    return (
        f"{mean}, the mean of {len(sets)} sets: fewest from {least} "
        f"({in_1000(sets[least].share)}), most from {most} ({in_1000(sets[most].share)})."
    )


def basis_sentence(run: Run, decision: Decision, found: Effect) -> str:
    """What the threshold was set on, what that promises, and whether the test bears it out."""
    rule = decision.rule
    if rule.needs_strangers:
        return _shown_on(run, decision)
    if not isinstance(rule, KeepId):
        return "This threshold was set by hand: nothing is promised beyond what the test shows."
    if decision.detector in run.in_sample:
        return (
            "This threshold was set on pictures that its detector has learned from: nothing is "
            "promised beyond what the test shows."
        )
    calibration = len(run.calibration_scores(decision.detector))
    made = promise(calibration, rule.share, found.known.total)
    # Cross-conformal scores promise less exactly than split-conformal ones.
    average = "about" if _learns(run, decision.detector) else "at least"
    text = (
        f"The {calibration:,} calibration pictures promise that on average {average} "
        f"{in_1000(rule.share)} of 1,000 familiar pictures pass; by chance alone, a test of this "
        f"size may show {counts.between(made.low, made.high)}. This test showed "
        f"{in_1000(found.known.share)}"
    )
    shown = [round(1000 * share) for share in (made.low, found.known.share, made.high)]
    if shown == sorted(shown):
        return f"{text}: the promise holds."
    side = "fewer" if shown[1] < shown[0] else "more"
    return (
        f"{text}, {side} than that. Either chance was unusual (it is in 1 of 20 tests), or the "
        "familiar test pictures differ from the calibration pictures."
    )


def _shown_on(run: Run, decision: Decision) -> str:
    """Which strangers set the threshold, and which show what it does."""
    if not decision.halved:
        return (
            "This threshold was set with the very strangers it is shown on: other strangers "
            "may pass more often."
        )
    parted = halves(run)
    setting, testing = (sum(map(len, half.values())) for half in (parted.setting, parted.testing))
    return (
        f"This threshold was set with one half of the strangers ({setting:,} pictures) and is "
        f"shown on the other half ({testing:,}), which had no part in it: strangers of other kinds "
        "may pass more often."
    )


def _learns(run: Run, detector: str) -> bool:
    """Whether a detector is fitted on calibration images; one that nobody knows may be."""
    record = run.record(detector)
    return record is None or "images" in record.fitted_with


def shortage(rule: Rule, calibration: int) -> str | None:
    """The warning when there are too few calibration pictures for what is asked, else None."""
    if not isinstance(rule, KeepId):
        return None
    needed = smallest_calibration(rule.share)
    if calibration >= needed:
        return None
    return (
        f"To keep {percent(rule.share)} of familiar pictures takes {needed:,} calibration pictures "
        f"and this run has {calibration:,}: ask for a smaller share, or calibrate with more."
    )


def learned(decision: Decision, run: Run) -> str | None:
    """The warning when a threshold rests on the very pictures its detector learned from."""
    if decision.rule.needs_strangers or decision.detector not in run.in_sample:
        return None
    return (
        f"There were too few calibration pictures to leave some out, so {decision.detector} has "
        "learned from those that set its threshold: expect more familiar pictures to be flagged "
        "than asked for, or calibrate with more."
    )


def standing_sentence(stored: Decision | None) -> str:
    """Which threshold the run is judged by: a person's, or the default."""
    if stored is None:
        return (
            "Nobody has chosen a threshold for this run yet: its pages judge by the best detector, "
            "keeping 95 % of familiar pictures."
        )
    when = f", chosen {stored.chosen:%d %B %Y}" if stored.chosen else ""
    return (
        f"The run's threshold: {stored.detector} at {stored.value:.4g} "
        f"({rule_words(stored.rule)}{when})."
    )
