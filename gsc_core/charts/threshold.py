"""A threshold among the scores: a histogram with a line, ROC and risk-coverage with a point.

The figures are drawn once for a detector; a step of the threshold only moves the mark (`marked`).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from gsc_core.charts.scores import dressed, label, score_bars, score_ticks
from gsc_core.evaluation.histogram import ScoreAxis
from gsc_core.evaluation.selective import Selective
from gsc_core.evaluation.thresholds import Effect
from gsc_core.evaluation.tradeoff import Tradeoff
from gsc_core.run.set_colours import ID_COLOUR, OOD_COLOURS, SetColours

HEIGHT = 340
PASSING = "%{x:.1%} of unfamiliar images and %{y:.1%} of familiar images are accepted"
MARK = "#9A5BC8"
"""Violet: in no set's palette, and readable on white and on dark pages."""


@dataclass(frozen=True)
class ThresholdFigures:
    """The two figures without a mark, and where a slider over the scores begins, ends and steps."""

    histogram: go.Figure
    axis: ScoreAxis
    roc: go.Figure
    low: float
    high: float
    step: float


def figures(
    tradeoff: Tradeoff, ood_sets: Sequence[str], *, colours: SetColours
) -> ThresholdFigures:
    """Draw what thresholds do to ID images and to the OOD sets of these names together."""
    name, colour, dash = "Unfamiliar images, mean of the sets", OOD_COLOURS[0], "solid"
    if len(ood_sets) == 1:
        (only,) = ood_sets
        name, colour, dash = label(only), colours.colour(only), colours.dash(only)
    return ThresholdFigures(
        _histogram(tradeoff, name, colour),
        tradeoff.axis,
        _roc(tradeoff, name, {"color": colour, "dash": dash, "width": 2}),
        tradeoff.low,
        tradeoff.high,
        tradeoff.step,
    )


def marked(drawn: ThresholdFigures, effect: Effect) -> tuple[go.Figure, go.Figure]:
    """Copies of the figures with the line and the point at a threshold."""
    histogram, roc = copy.deepcopy(drawn.histogram), copy.deepcopy(drawn.roc)
    last = histogram.layout.xaxis.range[1]
    at = float(drawn.axis.place(effect.threshold))
    histogram.add_vrect(x0=at, x1=last, fillcolor=MARK, opacity=0.1, line_width=0, layer="below")
    histogram.add_vline(x=at, line={"color": MARK, "width": 2})
    for side, text, anchor in ((-8, "← accepted", "right"), (8, "flagged →", "left")):
        histogram.add_annotation(
            x=at, y=1, yref="y domain", yanchor="bottom", text=text, showarrow=False,
            xanchor=anchor, xshift=side, font={"color": MARK},
        )  # fmt: skip
    roc.add_trace(_point(effect.ood_share, effect.id.share, PASSING))
    return histogram, roc


def refusing(selective: Selective) -> go.Figure:
    """The risk-coverage curve with a point at the threshold and the line of flagging at random."""
    wrong = 1 - selective.accuracy
    said = "%{x:.1%} are accepted, and %{y:.1%} of these are classified wrongly"
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[wrong, wrong],
        mode="lines",
        name="Flagging at random",
        line={"color": ID_COLOUR, "dash": "dash", "width": 1.5},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=selective.coverage.astype(np.float32),
        y=selective.risk.astype(np.float32),
        mode="lines",
        name="Flagging the least familiar",
        line={"color": OOD_COLOURS[1], "width": 2},
        hovertemplate=said,
    )
    figure.add_trace(_point(selective.accepted, 1 - selective.passing, said))
    figure.update_layout(height=HEIGHT)
    figure.update_xaxes(
        title_text="Share of familiar images accepted", tickformat=".0%", range=[0, 1.02]
    )
    figure.update_yaxes(
        title_text="Share of these classified wrongly",
        tickformat=".1~%",
        rangemode="tozero",
        nticks=5,
    )
    return _dressed(figure)


def _point(x: float, y: float, said: str) -> go.Scatter:
    """Where the threshold is on a curve."""
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers",
        name="This threshold",
        cliponaxis=False,
        marker={"color": MARK, "size": 14, "line": {"color": "white", "width": 2}},
        hovertemplate=said,
    )


def _histogram(tradeoff: Tradeoff, name: str, colour: str) -> go.Figure:
    axis, figure = tradeoff.axis, go.Figure()
    for text, heights, fill in (
        ("Familiar images", tradeoff.of_id, ID_COLOUR),
        (name, tradeoff.of_ood, colour),
    ):
        figure.add_trace(score_bars(axis, heights, text, fill))
    figure.update_layout(barmode="overlay", bargap=0, height=HEIGHT)
    figure.update_yaxes(tickformat=".0%", title_text="Share of images", nticks=5)
    figure.update_xaxes(score_ticks(axis))
    figure.update_xaxes(title_text="Outlier score (higher = less familiar)")
    return _dressed(figure, right=64)  # "flagged" stands beside a line at the very end


def _roc(tradeoff: Tradeoff, name: str, line: Mapping[str, object]) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=tradeoff.fpr.astype(np.float32),
        y=tradeoff.tpr.astype(np.float32),
        name=name,
        mode="lines",
        line=dict(line),
        hovertemplate=PASSING,
    )
    figure.update_layout(height=HEIGHT)
    percent = {"tickformat": ".0%", "range": [-0.02, 1.02]}
    figure.update_xaxes(title_text="Share of unfamiliar images accepted", **percent)
    figure.update_yaxes(title_text="Share of familiar images accepted", **percent)
    return _dressed(figure)


def _dressed(figure: go.Figure, right: int = 16) -> go.Figure:
    """The house's look, with room on top for “accepted” and “flagged”: the legend goes below."""
    dressed(figure)
    return figure.update_layout(
        margin={"l": 64, "r": right, "t": 28, "b": 96},
        legend={"y": -0.24, "yanchor": "top"},
        showlegend=True,
    )
