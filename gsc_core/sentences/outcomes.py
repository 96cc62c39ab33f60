"""What comes of a threshold in sentences: alarms that are right, what it costs, what it gains."""

import math

import numpy as np

from gsc_core.evaluation.cutpoints import expected_cost
from gsc_core.evaluation.selective import Selective
from gsc_core.evaluation.thresholds import F1, Cost, Effect, Rule
from gsc_core.sentences.counts import about, between, in_1000, parted


def outcome_sentences(rule: Rule, found: Effect) -> tuple[str, ...]:
    """What a rule with an expected number of strangers leads to; none for other rules."""
    match rule:
        case F1(prevalence=prevalence):
            return (_alarms(prevalence, found),)
        case Cost(prevalence=prevalence):
            return _alarms(prevalence, found), _costs(rule, found)
        case _:
            return ()


def refusing_sentence(found: Selective) -> str:
    """What leaving out flagged pictures does to the classifier's names, in counts of 1,000."""
    after, before = in_1000(found.passing), in_1000(found.accuracy)
    flagged = parted(found.kept)[1]
    text = (
        f"Of 1,000 familiar pictures that pass, {after} are named rightly "
        f"(95 % interval {between(found.low, found.high)})"
    )
    if after == before:
        return f"{text}, as many as when none is flagged; {flagged} of 1,000 are flagged."
    return (
        f"{text}, instead of {before} when none is flagged; the price is that {flagged} of 1,000 "
        "are flagged."
    )


def area_sentence(found: Selective) -> str:
    """The area under the risk-coverage curve, and what it would be by chance."""
    return (
        "Flagging more and more pictures, the strangest first, leaves on average "
        f"{in_1000(found.area)} of 1,000 that pass named wrongly; flagging at random leaves "
        f"{parted(found.accuracy)[1]}."
    )


def _alarms(prevalence: float, found: Effect) -> str:
    """What passes and what is flagged of a stream of pictures with so many strangers."""
    stream = _stream(prevalence)
    strangers = stream * prevalence
    missed = strangers * found.strangers_share
    false = (stream - strangers) * (1 - found.known.share)
    return (
        f"Of {stream:,} pictures with {_many(strangers, 'stranger')} among them, expect "
        f"{_many(strangers - missed, 'stranger')} and {_many(false, 'familiar picture')} to be "
        f"flagged, and {_many(missed, 'stranger')} to pass."
    )


def _many(number: float, what: str) -> str:
    said = about(number)
    return f"{said} {what}" if said in ("1", "fewer than 1") else f"{said} {what}s"


def _costs(rule: Cost, found: Effect) -> str:
    """What that costs, beside what it would cost to flag nothing and everything."""
    stream = _stream(rule.prevalence)
    prices = rule.miss, rule.alarm, rule.prevalence
    here, nothing, everything = (
        _amount(stream * float(expected_cost(known, strangers, *prices)))
        for known, strangers in ((found.known.share, found.strangers_share), (1, 1), (0, 0))
    )
    return (
        f"That costs {here}, where a stranger that passes costs {_amount(rule.miss)} and a "
        f"familiar picture flagged {_amount(rule.alarm)}; flagging nothing "
        f"would cost {nothing}, flagging everything {everything}."
    )


def _amount(cost: float) -> str:
    """Three figures of a cost, without an exponent where it is large."""
    if cost >= 100:
        return f"{cost:,.0f}"
    return np.format_float_positional(cost, precision=3, fractional=False, trim="-")


def _stream(prevalence: float) -> int:
    """Of how many pictures one speaks: 1,000, or as many more as it takes to have 10 strangers."""
    return int(10 ** max(3, math.ceil(1 - math.log10(prevalence) - 1e-9)))
