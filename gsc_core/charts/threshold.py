"""A threshold among the scores: a histogram with a line, ROC and risk-coverage with a point.

The figures are drawn once for a detector; a step of the threshold only moves the mark (`marked`).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from gsc_core.charts.scores import Floats, dressed, label, score_bars, score_ticks
from gsc_core.evaluation.histogram import ScoreAxis
from gsc_core.evaluation.selective import Selective
from gsc_core.evaluation.thresholds import Effect
from gsc_core.run.set_colours import ID_COLOUR, OOD_COLOURS, SetColours

BINS = 80
POINTS = 240  # thresholds along the curve, from each of the two groups
STEPS = 500  # of a slider over the scores
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
    id_scores: Floats, ood_sets: Mapping[str, Floats], *, colours: SetColours
) -> ThresholdFigures:
    """Draw ID scores `[N]` against OOD sets `[M]` each; several sets are averaged, equal weight."""
    axis = ScoreAxis.of([id_scores, *ood_sets.values()], BINS)
    name, colour, dash = "Unfamiliar images, mean of the sets", OOD_COLOURS[0], "solid"
    if len(ood_sets) == 1:
        (only,) = ood_sets
        name, colour, dash = label(only), colours.colour(only), colours.dash(only)
    low, high, step = _slider(id_scores, ood_sets)
    return ThresholdFigures(
        _histogram(id_scores, ood_sets, axis, name, colour),
        axis,
        _roc(id_scores, ood_sets, name, {"color": colour, "dash": dash, "width": 2}),
        low,
        high,
        step,
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


def passing(scores: Floats, thresholds: Floats) -> Floats:
    """Share of `scores` `[N]` at or below each of the `thresholds` `[T]`."""
    return np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)


def mean_roc(id_scores: Floats, ood_sets: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Points (share of OOD, share of ID that are accepted) `[T]`, OOD averaged over the sets."""
    steps = np.linspace(0, 1, POINTS)
    pooled = [np.quantile(scores, steps, method="inverted_cdf") for scores in ood_sets.values()]
    ood = np.quantile(np.concatenate(pooled), steps, method="inverted_cdf")
    thresholds = np.unique(
        np.concatenate([np.quantile(id_scores, steps, method="inverted_cdf"), ood])
    )
    fpr = np.mean([passing(scores, thresholds) for scores in ood_sets.values()], axis=0)
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], passing(id_scores, thresholds)])


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


def _histogram(
    id_scores: Floats, ood_sets: Mapping[str, Floats], axis: ScoreAxis, name: str, colour: str
) -> go.Figure:
    mean = np.mean([axis.shares(scores) for scores in ood_sets.values()], axis=0)
    figure = go.Figure()
    for text, heights, fill in (
        ("Familiar images", axis.shares(id_scores), ID_COLOUR),
        (name, mean.astype(np.float32), colour),
    ):
        figure.add_trace(score_bars(axis, heights, text, fill))
    figure.update_layout(barmode="overlay", bargap=0, height=HEIGHT)
    figure.update_yaxes(tickformat=".0%", title_text="Share of images", nticks=5)
    figure.update_xaxes(score_ticks(axis))
    figure.update_xaxes(title_text="Outlier score (higher = less familiar)")
    return _dressed(figure, right=64)  # "flagged" stands beside a line at the very end


def _roc(
    id_scores: Floats, ood_sets: Mapping[str, Floats], name: str, line: Mapping[str, object]
) -> go.Figure:
    x, y = mean_roc(id_scores, ood_sets)
    figure = go.Figure()
    figure.add_scatter(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
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


def _slider(id_scores: Floats, ood_sets: Mapping[str, Floats]) -> tuple[float, float, float]:
    """Round ends and a round step, over all but the farthest thousandth of each set."""
    ends = np.array(
        [np.quantile(scores, [0.001, 0.999]) for scores in (id_scores, *ood_sets.values())]
    )
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not high > low:
        low, high = low - max(abs(low), 1.0) / 2, high + max(abs(high), 1.0) / 2
    step = float(10.0 ** np.floor(np.log10((high - low) / STEPS)))
    step *= next(m for m in (1, 2, 5, 10) if m * step * STEPS >= high - low)
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step), step


def _dressed(figure: go.Figure, right: int = 16) -> go.Figure:
    """The house's look, with room on top for “accepted” and “flagged”: the legend goes below."""
    dressed(figure)
    return figure.update_layout(
        margin={"l": 64, "r": right, "t": 28, "b": 96},
        legend={"y": -0.24, "yanchor": "top"},
        showlegend=True,
    )
