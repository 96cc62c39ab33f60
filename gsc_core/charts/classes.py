"""Which classes swallow unfamiliar images: a bar for each, the longest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from gsc_core.charts.scores import dressed, label
from gsc_core.run.decisions import ClassEffect
from gsc_core.run.set_colours import OOD_COLOURS

MOST = 12
ROW_HEIGHT = 30


def swallowing(effects: Sequence[ClassEffect]) -> tuple[ClassEffect, ...]:
    """The classes by which most unfamiliar images are accepted, of those by which any is."""
    return tuple(effect for effect in effects if effect.unnoticed)[:MOST]


def class_bars(effects: Sequence[ClassEffect]) -> go.Figure:
    """Accepted unfamiliar images of each class, as counts, with the class's index as data."""
    shown = swallowing(effects)
    figure = go.Figure(
        go.Bar(
            x=[effect.unnoticed for effect in shown],
            y=[*range(len(shown))],
            customdata=[effect.index for effect in shown],
            text=[f"{effect.unnoticed:,}" for effect in shown],
            textposition="outside",
            cliponaxis=False,
            orientation="h",
            marker={"color": OOD_COLOURS[0]},
            hovertemplate="%{x:,} accepted<extra></extra>",
        )
    )
    names = [label(effect.name) for effect in shown]
    figure.update_yaxes(
        tickvals=[*range(len(shown))], ticktext=names, autorange="reversed", showgrid=False
    )
    figure.update_xaxes(title_text="Unfamiliar images accepted as this class", rangemode="tozero")
    dressed(figure)
    return figure.update_layout(
        height=96 + ROW_HEIGHT * len(shown), margin={"t": 8, "r": 48, "b": 48}, showlegend=False
    )


def class_of_bar(points: Sequence[Mapping[str, object]]) -> int | None:
    """The class whose bar is among selected points, as Streamlit gives them."""
    for point in points:
        said = point.get("customdata")
        index = said[0] if isinstance(said, list) and said else said
        if isinstance(index, int | float):
            return int(index)
    return None
