"""The words of a verdict: what is limited, the limit, the figure."""

import math

from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.intervals import MEAN, Interval
from gsc_core.release.metrics import Asked, Of, Sets, Unit
from gsc_core.release.policy import Rule
from gsc_core.release.verdict import Outcome

MAX_LISTED = 8
FINER = 4  # decimals at most


def title(rule: Rule, asked: Asked) -> str:
    """What is limited: `Unfamiliar images tested · textures`."""
    metric, run = rule.kind, asked.run
    parts = [metric.words]
    if metric.sets is not Sets.NONE:
        only = asked.ood_set == MEAN and len(run.ood_sets) == 1
        named = run.ood_sets[0] if only else asked.ood_set
        parts.append("mean of the sets" if named == MEAN else named)
    if metric.mixed:
        parts.append(f"{percent(asked.prevalence)} of the images unfamiliar")
    if metric.of is not Of.RUN:
        parts.append(asked.detector)
    return printable(" · ".join(parts))


def limit(rule: Rule) -> str:
    """The limit: `at most 30 %`."""
    side = "at most" if rule.at_most is not None else "at least"
    match rule.kind.unit:
        case Unit.SHARE:
            return f"{side} {percent(rule.limit)}"
        case Unit.COUNT:
            return f"{side} {rule.limit:,.0f}"
        case Unit.FLAG:
            return "no"


def figure(rule: Rule, interval: Interval) -> str:
    """The figure with its interval, the ends rounded outwards: `31.2 % (28.0 to 34.5)`."""
    if rule.kind.unit is Unit.COUNT:
        return f"{interval.value:,.0f}"
    if rule.kind.unit is Unit.FLAG:
        return "yes" if interval.value else "no"
    at_most = rule.at_most is not None
    came = Outcome.of(interval, rule.limit, at_most=at_most)
    # As fine as the limit, and finer where the shown ends would tell another outcome.
    start = max(1, len(f"{100 * rule.limit:.6g}".partition(".")[2]))
    for decimals in range(start, start + FINER):
        ends = _outwards(interval, decimals)
        shown = Interval(interval.value, ends[0] / 100, ends[1] / 100)
        if Outcome.of(shown, rule.limit, at_most=at_most) is came:
            break
    # Adding zero takes the sign off a rounded -0.0.
    rounded = (round(x, decimals) + 0.0 for x in (100 * interval.value, *ends))
    value, low, high = (f"{x:.{decimals}f}".replace("-", "−") for x in rounded)
    return f"{value} % ({low} to {high})"


def _outwards(interval: Interval, decimals: int) -> tuple[float, float]:
    """The ends in percent, rounded away from each other; float noise is no reason to."""
    step = 10.0**decimals
    low, high = (round(100 * end * step, 6) for end in (interval.low, interval.high))
    return math.floor(low) / step, math.ceil(high) / step


def listed(names: tuple[str, ...]) -> str:
    """Names with commas, at most a line of them."""
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Text of one line; what cannot be printed, as XML and terminals demand, is a space."""
    return "".join(c if c.isprintable() else " " for c in text)
