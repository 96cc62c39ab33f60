"""Scores to Plotly figures, reduced before they leave the server: never a point an image.

Names come from users. Plotly reads a little HTML in every text, so names pass `label` first.
"""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.histogram import MAX_VALUES, Histograms, ScoreAxis, SmallFloats
from gsc_core.evaluation.metrics import Curve, Floats
from gsc_core.run.set_colours import SetColours

GRID = "rgba(128, 128, 128, 0.22)"
QUIET = "rgba(128, 128, 128, 0.85)"

ROW_HEIGHT = 96
CURVE_HEIGHT = 440
MAX_BESIDE, LEGEND_ROW = 4, 24
"""Names that fit above a curve, and the height of each further one, in pixels."""
LONGEST_NAME = 32
RANKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Round ticks for scores that are drawn by their log-odds."""


def short(name: str) -> str:
    """A user's name as it is, but printable and at most 32 characters."""
    seen = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return seen if len(seen) <= LONGEST_NAME else seen[: LONGEST_NAME - 1] + "…"


def label(name: str) -> str:
    """A user's name as plain chart text: `short`, and no markup."""
    return html.escape(short(name), quote=False)


@dataclass(frozen=True)
class Bars:
    """Which images the bars of a histogram count: the set of each trace, and the bins' scores."""

    sets: tuple[str, ...]
    edges: Floats  # [bins + 1], without end on either side

    def between(self, bar: int) -> tuple[float, float]:
        """The scores above and up to which the images of a bin lie."""
        # a bin holds its lower edge and not its upper one
        low, high = np.nextafter(self.edges[bar : bar + 2], -np.inf)
        return float(low), float(high)

    def beside(self, trace: int) -> tuple[str, ...]:
        """The sets whose bars lie over each other where a trace is drawn, its OOD set first."""
        first = trace - trace % 2
        return self.sets[first : first + 2][::-1]


def bars_of(histograms: Histograms, *, colours: SetColours) -> Bars:
    """What the bars count that `histogram` draws of the same."""
    axis = histograms.axis
    edges = np.array(axis.score(axis.edges))
    edges[0], edges[-1] = -np.inf, np.inf
    rows = _rows(histograms, colours.id_set)
    traces = (shown for name in rows for shown in dict.fromkeys([colours.id_set, name]))
    return Bars(tuple(traces), edges)


def _rows(histograms: Histograms, id_set: str) -> list[str]:
    """The sets that have a row."""
    return [name for name in sorted(histograms.heights) if name != id_set] or [id_set]


def histogram(histograms: Histograms, *, colours: SetColours) -> go.Figure:
    """Outlier scores of the ID set against each OOD set, one row an OOD set, on one scale.

    `colours.id_set` names the ID set. Heights are shares of the set's own images, so sets of
    different sizes compare. All rows share the bins between the 0.5th and 99.5th percentile of the
    sets, pooled with equal weight; what lies beyond is counted in the first and last bin, and their
    tick labels (≤, ≥) say so.
    """
    id_set, axis, heights = colours.id_set, histograms.axis, histograms.heights
    rows = _rows(histograms, id_set)
    tall = max(CURVE_HEIGHT, 96 + ROW_HEIGHT * len(rows))  # as tall as the curve beside it
    figure = make_subplots(
        rows=len(rows),
        shared_xaxes=True,
        vertical_spacing=min(30 / tall, 0.9 / len(rows)),
    )
    top = 1.08 * float(max(height.max() for height in heights.values()))
    for row, name in enumerate(rows, start=1):
        for shown in dict.fromkeys([id_set, name]):
            text = "Familiar images" if shown == id_set else label(shown)
            bars = score_bars(axis, heights[shown], text, colours.colour(shown))
            bars.update(showlegend=shown == id_set and row == 1)
            figure.add_trace(bars, row=row, col=1)
        if name != id_set:
            _name_row(figure, row, name, colours.colour(name))
    figure.update_layout(barmode="overlay", bargap=0, height=tall)
    figure.update_yaxes(tickformat=".0%", range=[0, top], nticks=4)
    middle = (len(rows) + 1) // 2
    figure.update_yaxes(title_text="Share of images", row=middle, col=1)
    figure.update_xaxes(score_ticks(axis))
    figure.update_xaxes(title_text="Outlier score (higher = less familiar)", row=len(rows), col=1)
    return dressed(figure)


def roc(curves: Mapping[str, Curve], *, colours: SetColours, log_x: bool = False) -> go.Figure:
    """ROC curve of each OOD set, ID as positive: accepted OOD images against accepted ID images.

    With `log_x` the points at zero OOD images are drawn at the left edge, at half an OOD image.
    """
    reduced = _reduced(curves)
    drawn = {name: (curve.fpr, curve.tpr) for name, curve in reduced.items()}
    hover = "%{x:.2%} of unfamiliar images and %{y:.1%} of familiar images are accepted"
    figure = _lines(drawn, hover, colours, _floor(curves.values()), log_x)
    for trace, name in zip(figure.data, sorted(reduced), strict=True):
        _make_points_selectable(trace, reduced[name].threshold)
    figure.add_hline(y=0.95, line={"color": QUIET, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="Share of unfamiliar images accepted (FPR)")
    figure.update_yaxes(
        title_text="Share of familiar images accepted (TPR)",
        tickvals=[0, 0.2, 0.4, 0.6, 0.8, 0.95, 1],
    )
    return figure


def _make_points_selectable(trace: go.Scatter, thresholds: Floats) -> None:
    """Let a line's points be pressed, which say their threshold; they show once they are."""
    trace.update(
        mode="lines+markers",
        customdata=thresholds.astype(np.float32),
        marker={"size": 9, "opacity": 0},
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0}},
    )


def precision_recall(
    curves: Mapping[str, Curve],
    positive: Literal["id", "ood"] = "ood",
    *,
    colours: SetColours,
    log_x: bool = False,
) -> go.Figure:
    """Precision over recall for each OOD set, with OOD or ID images as positive.

    `"ood"`: of the flagged images, how many are OOD, over the share of OOD images flagged.
    `"id"`: of the accepted images, how many are ID, over the share of ID images accepted.
    """
    drawn = {
        name: (1 - curve.fpr, curve.precision_out)
        if positive == "ood"
        else (curve.tpr, curve.precision_in)
        for name, curve in _reduced(curves).items()
    }
    whose, done = ("unfamiliar", "flagged") if positive == "ood" else ("familiar", "accepted")
    least = min(float(x[x > 0].min()) for x, _ in drawn.values())
    hover = f"%{{x:.2%}} of {whose} images {done}; %{{y:.1%}} of the {done} ones are {whose}"
    figure = _lines(drawn, hover, colours, max(least / 2, 1e-4), log_x)
    figure.update_xaxes(title_text=f"Share of {whose} images {done} (recall)")
    figure.update_yaxes(title_text=f"Share of {done} images that are {whose} (precision)")
    return figure


def _name_row(figure: go.Figure, row: int, name: str, colour: str) -> None:
    """Name a row's OOD set in its top right corner, marked with its colour."""
    figure.add_annotation(
        text=f'<span style="color:{colour}">■</span> {label(name)}',
        showarrow=False,
        x=1,
        y=1,
        xref="x domain",
        yref="y domain",
        xanchor="right",
        yanchor="bottom",
        row=row,
        col=1,
    )


def score_bars(axis: ScoreAxis, heights: SmallFloats, name: str, colour: str) -> go.Bar:
    """A histogram's bars `[bins]`, which say their scores when pointed at."""
    return go.Bar(
        x0=axis.centres[0],
        dx=axis.edges[1] - axis.edges[0],
        y=heights,
        customdata=axis.score(axis.centres).astype(np.float32) if axis.by_log_odds else None,
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        opacity=0.7,
        hovertemplate="%{y:.1%} of the images, score about "
        + ("%{customdata:.4g}" if axis.by_log_odds else "%{x:.3g}"),
    )


def score_ticks(axis: ScoreAxis) -> dict[str, object]:
    """Tick labels in which both ends say that they hold everything beyond them."""
    first, last = float(axis.centres[0]), float(axis.centres[-1])
    inner = np.linspace(first, last, 5)[1:-1]
    if axis.by_log_odds:
        room = 0.08 * (last - first)
        places = axis.place(RANKS)
        inner = places[(places > first + room) & (places < last - room)]
    low, high = axis.score(axis.edges[[1, -2]])
    text = [f"≤ {_number(low)}", *map(_number, axis.score(inner)), f"≥ {_number(high)}"]
    ticks = [first, *inner.tolist(), last]
    return {"tickvals": ticks, "ticktext": text, "range": [axis.edges[0], axis.edges[-1]]}


def _number(value: float) -> str:
    """Three digits, more where that would be 1 or nearly, with a real minus sign."""
    digits = 5 if 0.999 < value < 1 else 3
    return f"{value:.{digits}g}".replace("-", "−")


def _lines(
    drawn: Mapping[str, tuple[Floats, Floats]],
    hover: str,
    colours: SetColours,
    floor: float,
    log_x: bool,
) -> go.Figure:
    """Shares over shares, a line a set; a logarithmic axis starts at `floor`."""
    figure = go.Figure()
    for name in sorted(drawn):
        x, y = drawn[name]
        figure.add_trace(
            go.Scatter(
                x=np.maximum(x, floor if log_x else 0).astype(np.float32),
                y=y.astype(np.float32),
                name=label(name),
                mode="lines",
                line={"color": colours.colour(name), "dash": colours.dash(name), "width": 2},
                hovertemplate=hover,
            )
        )
    figure.update_layout(height=CURVE_HEIGHT + LEGEND_ROW * max(0, len(drawn) - MAX_BESIDE))
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_xaxes(
        _log_axis(floor) if log_x else {"tickformat": ".0%", "range": [-0.01, 1.01]}
    )
    return dressed(figure)


def _reduced(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """The curves with so few points that all lines together stay within `MAX_VALUES`."""
    points = max(MAX_VALUES // (2 * len(curves)), 3)
    return {name: _fewer(curve, points) for name, curve in curves.items()}


def _fewer(curve: Curve, points: int) -> Curve:
    """At most `points` of a curve, spread evenly, the ends and the one at 95 % ID among them."""
    if len(curve.tpr) <= points:
        return curve
    even = np.linspace(0, len(curve.tpr) - 1, points - 1).astype(np.intp)
    keep = np.union1d(even, np.searchsorted(curve.tpr, 0.95 - 1e-9))
    return Curve(
        curve.threshold[keep],
        curve.tpr[keep],
        curve.fpr[keep],
        curve.precision_in[keep],
        curve.precision_out[keep],
        curve.ood_images,
    )


def _log_axis(floor: float) -> dict[str, object]:
    ticks = [10.0**-k for k in range(4, -1, -1) if 10.0**-k >= floor]
    return {
        "type": "log",
        "range": [np.log10(floor), 0],
        "tickvals": ticks,
        "ticktext": [percent(tick) for tick in ticks],
    }


def _floor(curves: Iterable[Curve]) -> float:
    """Left end of a log axis: half an OOD image, but four decades at most."""
    return max(0.5 / max(curve.ood_images for curve in curves), 1e-4)


def dressed(figure: go.Figure) -> go.Figure:
    """The house's look: no box, faint grid, legend on top, readable on light and dark pages."""
    figure.update_layout(
        template="none",
        margin={"l": 64, "r": 16, "t": 48, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "title": None},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"namelength": LONGEST_NAME},
    )
    figure.update_xaxes(showgrid=False, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    return figure
