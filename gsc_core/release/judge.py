"""A run against a policy: the 95 % interval of each figure decides."""

from collections.abc import Iterator
from dataclasses import replace

from gsc_core.errors import GscError
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.release import words
from gsc_core.release.metrics import AbsentError, Asked, Case, Of, Sets, Unit
from gsc_core.release.policy import BEST, DECISION, PER_SET, Policy, Rule
from gsc_core.release.verdict import Judged, Outcome, Verdict
from gsc_core.run import decisions, picking
from gsc_core.run.decisions import Decision
from gsc_core.run.ood_halves import halves
from gsc_core.run.reliability import PREVALENCE
from gsc_core.run.stored import Run


def judge(run: Run, decision: Decision, policy: Policy) -> Verdict:
    """Hold a run, with the decision that sets its threshold, against every limit of a policy.

    A limit is met when the whole interval meets it, broken when the whole interval breaks it, and
    else, or when the run does not have the figure, there is not enough data. Raises GscError when
    the scores are missing or damaged.
    """
    case, numbered = Case(run, decision), enumerate(policy.rules, start=1)
    return Verdict(tuple(one for i, rule in numbered for one in _of_rule(case, rule, i)))


def _of_rule(case: Case, rule: Rule, number: int) -> Iterator[Judged]:
    """One limit, or one for each OOD set."""
    wanted = rule.ood_set or rule.kind.sets.value or MEAN
    for ood_set in (case.run.ood_sets or (PER_SET,)) if wanted == PER_SET else (wanted,):
        asked = replace(_asked(case, rule, ood_set), prevalence=rule.prevalence or PREVALENCE)
        title, limit = words.title(rule, asked), words.limit(rule)
        try:
            _check(rule, asked)
            interval = rule.kind.measure(asked)
        except AbsentError as reason:
            why = words.printable(str(reason))
            yield Judged(title, limit, "no figure", Outcome.UNSURE, why, number)
            continue
        came = Outcome.of(interval, rule.limit, at_most=rule.at_most is not None)
        because = _because(rule, interval, came) + _caution(rule, asked)
        yield Judged(title, limit, words.figure(rule, interval), came, because, number, interval)


def _asked(case: Case, rule: Rule, ood_set: str) -> Asked:
    """Of which detector, and whether one half of the images picked it.

    A name in the policy was fixed beforehand, so all images judge it.
    """
    if rule.detector in (None, DECISION):
        return Asked(case, case.decision.detector, ood_set, half=case.decision.picked)
    if rule.detector != BEST:
        return Asked(case, case.run.name_of(rule.detector), ood_set)
    if len(case.run.detectors) == 1:
        return Asked(case, case.run.detectors[0], ood_set)
    try:
        best = picking.candidates(case.run)[0].detector
    except GscError:  # sets too small for halves, which `_check` says
        best = case.run.best().detector
    return Asked(case, best, ood_set, half=True)


def _check(rule: Rule, asked: Asked) -> None:
    """Raise AbsentError for a detector, a set or a threshold that the run does not have."""
    run, detector, ood_set = asked.run, asked.detector, asked.ood_set
    if detector in run.excused:
        raise AbsentError(f"{detector} was left out: {run.excused[detector]}")
    if detector not in run.detectors:
        raise AbsentError(
            f'The run has no detector "{detector}": it has {words.listed(run.detectors)}.'
        )
    if rule.kind.of is Of.THRESHOLD:
        try:
            decisions.ensure_finite(asked.case.decision)
        except GscError as reason:
            raise AbsentError(str(reason)) from reason
    if asked.half or asked.case.decision.spares_half:
        _check_halves(run)
    if rule.kind.sets is not Sets.NONE and not run.ood_sets:
        raise AbsentError("The run has no unfamiliar images: audit with a set of them.")
    if ood_set not in (MEAN, *run.ood_sets):
        raise AbsentError(f'The run has no set "{ood_set}": it has {words.listed(run.ood_sets)}.')


def _check_halves(run: Run) -> None:
    try:
        halves(run)
    except GscError as reason:
        raise AbsentError(str(reason)) from reason


def _because(rule: Rule, interval: Interval, came: Outcome) -> str:
    verbs = {Outcome.MET: "meets", Outcome.BROKEN: "breaks"}
    if rule.kind.unit is not Unit.SHARE:
        return f"It {verbs[came]} the limit."
    if came in verbs:
        return f"The whole interval {verbs[came]} the limit."
    point = Interval(*[interval.value] * 3)
    alone = Outcome.of(point, rule.limit, at_most=rule.at_most is not None)
    return (
        f"The figure {verbs[alone]} the limit, but its interval crosses it: more images would make "
        "it narrower."
    )


def _caution(rule: Rule, asked: Asked) -> str:
    """What is to be said of decisions that were stored before halves were kept apart."""
    decision = asked.case.decision
    of_ood = rule.metric == "strangers_passing"
    if of_ood and decision.rule.needs_ood and not decision.halved:
        return (
            " The threshold was set on these same unfamiliar images: others may be accepted more "
            "often."
        )
    by_decision = of_ood or (rule.kind.of is Of.DETECTOR and rule.detector in (None, DECISION))
    usual = decisions.default_detector(asked.run)
    if by_decision and decision.detector != usual and not decision.picked:
        return (
            " The detector was picked by these same unfamiliar images: on others it may do worse."
        )
    return ""
