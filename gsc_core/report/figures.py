"""The report's charts as standalone SVG, for the HTML page and for the PDF."""

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from scipy.special import logit

from gsc_core.evaluation.histogram import ScoreAxis
from gsc_core.report.model import Histogram, Report
from gsc_core.report.printable import printable
from gsc_core.report.svg import INK, LINE, MARK, QUARTERS, SIZE, WIDE, Axes, line, picture, text
from gsc_core.run.set_colours import ID_COLOUR, SetColours
from gsc_core.run.way_looks import LOOKS

DASHES = {
    "solid": {},
    "dash": {"stroke-dasharray": "9 5"},
    "dot": {"stroke-dasharray": "2 4"},
    "dashdot": {"stroke-dasharray": "9 4 2 4"},
    "longdash": {"stroke-dasharray": "16 6"},
    "longdashdot": {"stroke-dasharray": "16 5 2 5"},
}
"""Plotly's line styles in SVG."""

BARS = 60  # height of a histogram
FLAT = 200  # height of the risk-coverage curve
WORD = 74  # width that "accepted" takes beside the threshold
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # round ones for an axis of shares


def histogram_svg(report: Report, i: int, *, width: int = 520, named: bool = True) -> str:
    """Scores of the `i`-th OOD set (coloured) over the familiar ones (grey), with the threshold.

    Heights are shares of a set's own images. `named` False leaves the set's name to the page.
    """
    histogram, colours = report.histogram, _colours(report)
    bars, familiar = histogram.strangers[i], histogram.familiar
    head = 38 if named else 20
    about = f"Outlier scores of {bars.name} beside those of familiar images, with the threshold"
    svg = picture(0, 0, width, head + BARS + 20, about)
    if named:
        text(svg, _short(bars.name, width // SIZE), (0, SIZE), fill=INK)
    plot = SubElement(svg, "g", transform=f"translate(0 {head})")
    top = 1.05 * max(*bars.shares, *familiar.shares)
    for one, colour in ((familiar, colours.colour("id")), (bars, colours.colour(bars.name))):
        outline = _steps([share / top for share in one.shares], width)
        SubElement(plot, "path", {"d": outline, "fill": colour, "fill-opacity": "0.65"})
    line(plot, (0, BARS), (width, BARS), LINE)
    axis = _axis(histogram)
    first, last = axis.edges[[0, -1]]
    share = (float(axis.place(report.decision.value)) - first) / (last - first)
    _threshold(plot, width * share, width)
    low, high = axis.score(axis.edges[[1, -2]])
    text(plot, f"≤ {_number(low)}", (0, BARS + 16))
    text(plot, f"≥ {_number(high)}", (width, BARS + 16), "end")
    return tostring(svg, encoding="unicode")


def roc_svg(report: Report) -> str:
    """A ROC curve for each OOD set, ID as positive, with a point at the report's threshold."""
    colours = _colours(report)
    about = (
        "ROC curves: share of familiar images accepted against share of unfamiliar images accepted"
    )
    axes = Axes.of(about, tall=WIDE, top=1)
    axes.grid(QUARTERS)
    axes.titles("Unfamiliar images accepted", "Familiar images accepted")
    for one in report.roc:
        axes.curve(one.points, colours.colour(one.name), **DASHES[colours.dash(one.name)])
    passed = {one.name: one.share for one in report.decision.strangers}
    for one in report.roc:
        axes.mark(passed[one.name], report.decision.familiar.share)
    return tostring(axes.svg, encoding="unicode")


def refusing_svg(report: Report) -> str:
    """The risk-coverage curve: of the images accepted, how many are classified wrongly.

    Raises ValueError when the report has none.
    """
    found = report.refusing
    if found is None:
        raise ValueError("without labels it is not known which images are classified correctly")
    ticks = _ticks(max([1 - found.low, *(risk for _, risk in found.points)]))
    about = (
        "Risk-coverage curve: share classified wrongly against share of familiar images accepted"
    )
    axes = Axes.of(about, tall=FLAT, top=ticks[-1])
    axes.grid(ticks)
    axes.titles("Familiar images accepted", "Classified wrongly, of these")
    axes.curve(found.points, INK)
    low, high = (axes.at(found.kept, 1 - end) for end in (found.high, found.low))
    line(axes.svg, low, high, MARK, **{"stroke-width": "2"})
    axes.mark(found.kept, 1 - found.accuracy_passing)
    return tostring(axes.svg, encoding="unicode")


def reliability_svg(report: Report) -> str:
    """Each group's accuracy over its confidence, with its interval, beside the line of equals.

    Both axes begin below the least of them, at a round share. Raises ValueError when the report
    has none.
    """
    found = report.confidence
    if found is None:
        raise ValueError("without labels it is not known which images are classified correctly")
    about = "Reliability diagram: how often the classifier is right against how sure it says it is"
    lowest = min(min(group.confidence, group.low) for group in found.groups)
    least = next((share for share in (0.9, 0.8, 0.5) if share <= lowest), 0.0)
    ticks = QUARTERS if least == 0 else np.linspace(least, 1, 6).tolist()
    axes = Axes.of(about, tall=WIDE, top=1, least=least)
    axes.grid(ticks, ticks)
    axes.titles("How sure it says it is", "How often it is right")
    line(axes.svg, axes.at(least, least), axes.at(1, 1), ID_COLOUR, **DASHES["dash"])
    for group in found.groups:
        low, high = (axes.at(group.confidence, end) for end in (group.low, group.high))
        line(axes.svg, low, high, MARK, **{"stroke-width": "2"})
    for group in found.groups:
        axes.mark(group.confidence, group.accuracy)
    return tostring(axes.svg, encoding="unicode")


def errors_svg(report: Report) -> str:
    """What is wrong of the accepted, over the share accepted, by who may refuse.

    Raises ValueError when the report has no such curves.
    """
    found = report.errors
    if found is None or not found.by_both:
        raise ValueError("without labels it is not known what is wrong")
    curves = {way: getattr(found, f"by_{way}") for way in LOOKS}
    most = max(found.wrong.high, *(wrong for points in curves.values() for _, wrong in points))
    ticks = _ticks(most)
    about = (
        "Share answered wrongly against share accepted, when the confidence alone, the detector "
        "alone or both may refuse"
    )
    axes = Axes.of(about, tall=FLAT, top=ticks[-1])
    axes.grid(ticks)
    axes.titles("Images accepted", "Answered wrongly, of these")
    for way, points in curves.items():
        axes.curve(points, LOOKS[way].colour, **DASHES[LOOKS[way].dash])
    low, high = (axes.at(found.accepted, end) for end in (found.wrong.low, found.wrong.high))
    line(axes.svg, low, high, MARK, **{"stroke-width": "2"})
    axes.mark(found.accepted, found.wrong.value)
    return tostring(axes.svg, encoding="unicode")


def way_svg(way: str) -> str:
    """A short line as the curve of a way to refuse is drawn, for a legend."""
    return _swatch(LOOKS[way].colour, LOOKS[way].dash)


def swatch_svg(report: Report, name: str) -> str:
    """A short line as the curve of a set is drawn, for a legend."""
    colours = _colours(report)
    return _swatch(colours.colour(name), colours.dash(name))


def _swatch(colour: str, dash: str) -> str:
    svg = picture(0, 0, 42, 8, None)
    line(svg, (0, 4), (42, 4), colour, **{"stroke-width": "3"}, **DASHES[dash])
    return tostring(svg, encoding="unicode")


def _colours(report: Report) -> SetColours:
    """By all sets of the run, of which only the first are drawn: as on its pages."""
    return SetColours.of(one.name for one in report.decision.strangers)


def _axis(histogram: Histogram) -> ScoreAxis:
    """The axis that the histogram's bars were counted on."""
    by_log_odds = histogram.scale == "log-odds"
    ends = np.array([histogram.low, histogram.high])
    first, last = logit(ends) if by_log_odds else ends
    return ScoreAxis(np.linspace(first, last, len(histogram.familiar.shares) + 1), by_log_odds)


def _threshold(plot: Element, at: float, width: float) -> None:
    """The threshold's line; what becomes of either side stands above it, where there is room."""
    line(plot, (at, -4), (at, BARS), MARK, **{"stroke-width": "2"})
    if at >= WORD:
        text(plot, "← accepted", (at - 6, -6), "end", fill=MARK)
    if at <= width - WORD:
        text(plot, "flagged →", (at + 6, -6), fill=MARK)


def _steps(heights: Sequence[float], width: float) -> str:
    """A histogram's outline; a height of 1 fills the plot."""
    step = width / len(heights)
    tops = (BARS * (1 - height) for height in heights)
    parts = [f"V{top:.1f}H{(i + 1) * step:.1f}" for i, top in enumerate(tops)]
    return "".join([f"M0 {BARS}", *parts, f"V{BARS}Z"])


def _ticks(most: float) -> list[float]:
    """Round shares from 0 to past the highest, seven at most."""
    step = next(step for step in STEPS if most <= 6 * step)
    return [k * step for k in range(max(math.ceil(most / step - 1e-9), 1) + 1)]


def _short(name: str, most: int) -> str:
    """A name in at most so many letters; names often differ at their end, so the middle goes."""
    seen = printable(name).replace("\n", " ")
    return seen if len(seen) <= most else f"{seen[: most - 19]}…{seen[-18:]}"


def _number(value: float) -> str:
    """Four digits, with a real minus sign."""
    return f"{value:.4g}".replace("-", "−")
