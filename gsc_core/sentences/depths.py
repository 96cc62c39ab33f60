"""At which depth of the network an image is unusual, in words."""

from collections.abc import Sequence

from gsc_core.evaluation.counts import percentile

UNUSUAL = 95.0
"""Percent of the familiar images: beyond so many of them an image is called unusual."""


def depth_sentence(percentiles: Sequence[float]) -> str:
    """At which depth, by its percentile at each, an image is furthest from the familiar ones.

    Also at how many depths it is unusual.
    """
    unusual = sum(each > UNUSUAL for each in percentiles)
    at, most = max(enumerate(percentiles, 1), key=lambda numbered: numbered[1])
    where = (
        f"depth {at} of {len(percentiles)}, where it is at least as far from the familiar images "
        f"as {percentile(most)} of these"
    )
    if not unusual:
        return f"It is unusual at no depth; furthest at {where}."
    if unusual == len(percentiles):
        return f"It is unusual at every depth; most at {where}."
    others = "nowhere else" if unusual == 1 else f"at {unusual - 1} more"
    return f"It is most unusual at {where}; unusual {others}."
