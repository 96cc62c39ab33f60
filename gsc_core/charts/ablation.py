"""What each part of GSC contributes: curves over k, a dot for each level of each factor."""

from collections.abc import Mapping
from itertools import groupby

import pandas as pd
import plotly.graph_objects as go

from gsc_core.ablation import Ablation
from gsc_core.ablation.gain import Influence, gain
from gsc_core.ablation.settings import CURVE, LAYER, REFERENCE
from gsc_core.charts.scores import QUIET, dressed, label
from gsc_core.evaluation.counts import percent
from gsc_core.run.set_colours import ID_COLOUR, OOD_COLOURS, SetColours

METRICS: Mapping[str, str] = {
    "fpr95": "Share of unfamiliar images accepted (FPR95)",
    "auroc": "Separation of familiar and unfamiliar images (AUROC)",
}
_SHORT: Mapping[str, str] = {"fpr95": "Accepted (FPR95)", "auroc": "Separation (AUROC)"}
"""For the narrow axis beside the names of the levels."""
FACTORS: Mapping[str, str] = {
    "share": "Share cut (k)",
    "granularity": "What is cut",
    "ranking": "Chosen by",
    "intervention": "What is done",
    "update": "New logits",
    "reading": "What is read",
    "direction": "Direction",
    "layer": "Layer",
}
LEVELS: Mapping[str, str] = {"element": "single values", "channel": "whole channels"}
_COLOURS = {
    "gradient": OOD_COLOURS[1],
    "attribution": OOD_COLOURS[0],
    "activation": OOD_COLOURS[2],
    "random": ID_COLOUR,
}
_SYMBOLS = {"gradient": "circle", "attribution": "diamond", "activation": "square", "random": "x"}
_DASHES = {"element": "dash", "channel": "solid"}
_ITSELF, _SURE, _UNSURE = "the setting itself", "differs from it", "no clear difference"
_CHANGED = "one thing changed"  # in an ablation that did not measure differences
_KINDS: Mapping[str, Mapping[str, object]] = {
    _ITSELF: {"symbol": "diamond", "size": 10, "color": OOD_COLOURS[0]},
    _SURE: {"symbol": "circle", "size": 8, "color": OOD_COLOURS[1]},
    _UNSURE: {"symbol": "circle-open", "size": 8, "color": OOD_COLOURS[1]},
    _CHANGED: {"symbol": "circle", "size": 8, "color": OOD_COLOURS[1]},
}
_ROW, _CURVES_HEIGHT = 24, 560  # pixels


def curves(ablation: Ablation, base: str, metric: str, ood_set: str = "mean") -> go.Figure:
    """FPR95 or AUROC over the share cut: a colour for each ranking, dashes for single values."""
    rows = ablation.rows(ood_set, base=base, factor=CURVE)
    figure = go.Figure()
    for (granularity, ranking), line in rows.groupby(["granularity", "ranking"], sort=False):
        colour = _COLOURS[str(ranking)]
        figure.add_scatter(
            x=[percent(share) for share in line["share"]],
            y=line[metric].round(4).tolist(),
            customdata=_intervals(line, metric),
            name=f"{LEVELS[str(granularity)]}, {ranking}",
            mode="lines+markers",
            line={"color": colour, "dash": _DASHES[str(granularity)], "width": 2},
            marker={"symbol": _SYMBOLS[str(ranking)], "size": 8},
            hovertemplate="%{y:.1%} (%{customdata})",
        )
    _reference_line(figure, ablation, metric, ood_set, across=True)
    figure.update_layout(height=_CURVES_HEIGHT, hovermode="x")
    figure.update_xaxes(title_text="Share cut (k)", type="category")
    figure.update_yaxes(title_text=METRICS[metric], tickformat=".0%", range=[0, 1.02])
    return _with_legend_below(dressed(figure))


def factors(
    ablation: Ablation, base: str, metric: str, depth: str = "deep", ood_set: str = "mean"
) -> go.Figure:
    """A dot with its interval for each level of each factor, and whether it clearly differs.

    The base is a diamond. A row that clearly differs from it on the same images is a filled dot,
    another one a hollow dot.
    """
    ticks, points = _laid_out(_levels(ablation, base, depth, ood_set))
    own = ablation.base(base, depth, ood_set)
    kinds = [_kind(row, own, metric) for _, row in points]
    figure = go.Figure()
    for kind, marker in _KINDS.items():
        of_kind = [point for point, its in zip(points, kinds, strict=True) if its == kind]
        if not of_kind:
            continue
        figure.add_scatter(
            x=[round(float(row[metric]), 4) for _, row in of_kind],
            y=[at for at, _ in of_kind],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [float(row[f"{metric}_high"] - row[metric]) for _, row in of_kind],
                "arrayminus": [float(row[metric] - row[f"{metric}_low"]) for _, row in of_kind],
                "thickness": 1,
                "width": 3,
            },
            text=[_level(row) for _, row in of_kind],
            customdata=[_against(row, kind, metric) for _, row in of_kind],
            mode="markers",
            name=kind,
            marker=marker,
            hovertemplate="%{text}: %{x:.1%}<br>%{customdata}<extra></extra>",
        )
    _reference_line(figure, ablation, metric, ood_set, across=False)
    figure.update_layout(height=136 + _ROW * len(ticks))
    figure.update_xaxes(title_text=_SHORT[metric], tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(
        tickvals=[at for at, _ in ticks],
        ticktext=[text for _, text in ticks],
        range=[len(ticks) - 0.4, -0.6],
    )
    return dressed(figure)


def steadiness(ablation: Ablation, where: str) -> go.Figure:
    """Mean cosine of gradients beside each other, with its interval; ID first, then OOD sets."""
    rows = [row for row in ablation.facts.consistency if row.where == where]
    colours = SetColours.of(ablation.ood_sets)
    names = ["Familiar images" if row.set == "id" else label(row.set) for row in rows]
    figure = go.Figure()
    for at, (row, name) in enumerate(zip(rows, names, strict=True)):
        figure.add_scatter(
            x=[row.mean],
            y=[at],
            error_x={"type": "data", "array": [row.high - row.mean], "thickness": 1.5, "width": 4},
            mode="markers",
            name=name,
            showlegend=False,
            marker={"color": colours.colour(row.set), "size": 11},
            hovertemplate="%{x:.4f}",
        )
    figure.update_layout(height=120 + 32 * len(rows))
    lowest = min((row.low for row in rows), default=1.0)  # a hair's breadth must not look wide
    figure.update_xaxes(
        title_text="Mean cosine (1 = same direction)",
        range=[min(0.9, lowest - 0.02), 1.005],
    )
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.4, -0.6]
    )
    return dressed(figure)


def _levels(ablation: Ablation, base: str, depth: str, ood_set: str) -> list[pd.Series]:
    """The rows of the factor chart in order, the layers last."""
    of_layer = ablation.rows(ood_set, base=base, depth=depth)
    rows = pd.concat([of_layer, ablation.rows(ood_set, base=base, factor=LAYER)])
    shown = [
        row for _, row in rows[~rows.index.duplicated()].iterrows() if row["factor"] in FACTORS
    ]
    return sorted(shown, key=lambda row: list(FACTORS).index(row["factor"]))


def _kind(row: pd.Series, own: pd.Series | None, metric: str) -> str:
    """Which of `_KINDS` a row is."""
    same = ("detector", "direction", "layer")  # both directions read the same scores
    if own is not None and all(row[column] == own[column] for column in same):
        return _ITSELF
    difference = gain(row, metric)
    if difference is None:
        return _CHANGED
    return _UNSURE if difference.verdict is Influence.SAME else _SURE


def _against(row: pd.Series, kind: str, metric: str) -> str:
    """What hovering says of a row beside the one it is compared with."""
    difference = gain(row, metric)
    if difference is None or kind == _ITSELF:
        return kind
    return label(f"{difference.points()} than {row['against']} at {row['against_layer']}")


def _laid_out(
    rows: list[pd.Series],
) -> tuple[list[tuple[int, str]], list[tuple[int, pd.Series]]]:
    """Lines from the top: the factor's name on one of its own, then a line for each level."""
    ticks: list[tuple[int, str]] = []
    points: list[tuple[int, pd.Series]] = []
    for factor, group in groupby(rows, key=lambda row: str(row["factor"])):
        ticks.append((len(ticks), f"<b>{FACTORS[factor]}</b>"))
        for row in group:
            points.append((len(ticks), row))
            ticks.append((len(ticks), _level(row)))
    return ticks, points


def _level(row: pd.Series) -> str:
    if row["factor"] == LAYER:
        return label(f"{row['level']}: {row['layer']}")
    return label(LEVELS.get(str(row["level"]), str(row["level"])))


def _reference_line(
    figure: go.Figure, ablation: Ablation, metric: str, ood_set: str, *, across: bool
) -> None:
    """What energy does without any short-circuit."""
    bare = ablation.row(ood_set, base=REFERENCE, detector="energy")
    if bare is None:
        return
    line = {"color": QUIET, "width": 1.5, "dash": "dot"}
    value = float(bare[metric])
    if across:
        figure.add_hline(y=value, line=line)
    else:
        figure.add_vline(x=value, line=line)


def _intervals(line: pd.DataFrame, metric: str) -> list[str]:
    bounds = zip(line[f"{metric}_low"], line[f"{metric}_high"], strict=True)
    return [f"{100 * low:.1f} to {percent(high, 1)}" for low, high in bounds]


def _with_legend_below(figure: go.Figure) -> go.Figure:
    """Eight names do not fit above a chart on a phone."""
    figure.update_layout(legend={"y": -0.16, "yanchor": "top"}, margin={"t": 28})
    return figure
