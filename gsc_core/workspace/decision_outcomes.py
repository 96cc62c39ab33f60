"""What comes of a threshold in sentences: alarms that are right, what it costs, what it gains."""

from gsc_core.evaluation.counts import about, between, in_1000
from gsc_core.evaluation.cutpoints import expected_cost
from gsc_core.evaluation.selective import Selective
from gsc_core.evaluation.thresholds import F1, Cost, Effect, Rule


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
    """What refusing flagged pictures does to the classifier's names, in counts of 1,000."""
    after, before = in_1000(found.passing), in_1000(found.accuracy)
    refused = in_1000(1 - found.kept)
    text = (
        f"Of 1,000 familiar pictures that pass, {after} are named rightly "
        f"(95 % interval {between(found.low, found.high)})"
    )
    if after == before:
        return f"{text}, as many as when no picture is refused; {refused} of 1,000 are refused."
    return (
        f"{text}, instead of {before} when no picture is refused; the price is that {refused} of "
        "1,000 are refused."
    )


def area_sentence(found: Selective) -> str:
    """The area under the risk-coverage curve, and what it would be by chance."""
    return (
        "Refusing more and more pictures, the strangest first, leaves on average "
        f"{in_1000(found.area)} of 1,000 accepted ones named wrongly; refusing at random leaves "
        f"{in_1000(1 - found.accuracy)}."
    )


def _alarms(prevalence: float, found: Effect) -> str:
    """What passes and what is flagged of a stream of pictures with so many strangers."""
    stream = _stream(prevalence)
    strangers = stream * prevalence
    missed = strangers * found.strangers_share
    false = (stream - strangers) * (1 - found.known.share)
    return (
        f"Of {stream:,} pictures with {about(strangers)} strangers among them, expect "
        f"{about(strangers - missed)} strangers and {about(false)} familiar pictures to be "
        f"flagged, and {about(missed)} strangers to pass."
    )


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
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"


def _stream(prevalence: float) -> int:
    """Of how many pictures one speaks: more than 1,000 where strangers are rarer than that."""
    return 1000 if prevalence >= 0.001 else 1_000_000
