"""The map of a run's images as a figure: a point for each, coloured by what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from gsc_core.charts.scores import dressed, label
from gsc_core.evaluation.counts import percent
from gsc_core.run import gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.image_map import ImageMap
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.set_colours import ID_COLOUR, MORE_COLOURS, OOD_COLOURS, SetColours
from gsc_core.run.stored import Run

HEIGHT = 560
MAX_CLASSES = 10
CALIBRATION_COLOUR = "#B9C4C8"
GOOD, BAD = "#009E73", "#D55E00"

SET, CLASS, DECISION, SCORE = "set", "class", "decision", "score"
COLOURINGS = {
    SET: "Set",
    CLASS: "Classified as",
    DECISION: "Accepted or flagged",
    SCORE: "Outlier score",
}


@dataclass(frozen=True)
class _Group:
    """Points of one colour: which of the map's, and what the legend calls them."""

    name: str
    colour: str
    points: NDArray[np.bool_]
    symbol: str = "circle"


def image_map(run: Run, of: ImageMap, decision: Decision, colouring: str) -> go.Figure:
    """A point for each image, which says its row in `scores.parquet` as custom data.

    `colouring` is one of `COLOURINGS`. Familiar images are dots, unfamiliar ones diamonds, as far
    as sets are told by colour no more.
    """
    figure = go.Figure()
    if colouring == SCORE:
        figure.add_trace(_by_score(run, of, decision))
    else:
        for group in _GROUPS[colouring](run, of, decision):
            marker = {"color": group.colour, "size": 6, "symbol": group.symbol}
            figure.add_trace(_points(run, of, group.points, group.name, marker))
    figure.update_layout(height=HEIGHT, dragmode="lasso", hovermode="closest", showlegend=True)
    dressed(figure)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 56, "b": 8})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def _points(
    run: Run, of: ImageMap, points: NDArray[np.bool_], name: str, marker: dict[str, object]
) -> go.Scatter:
    places = of.places[points]
    # drawn as SVG: WebGL builds functions from text, which the policy of the pages forbids
    return go.Scatter(
        x=places[:, 0],
        y=places[:, 1],
        customdata=of.rows[points].astype(np.int32),
        text=_hover(run, of.rows[points]),
        name=name,
        mode="markers",
        marker=marker | {"opacity": 0.75},
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(run: Run, rows: NDArray[np.intp]) -> list[str]:
    """What the classifier says of each image; its file's name would be most of the page."""
    predicted, confidence = run.column("predicted")[rows], run.column("confidence")[rows]
    names = {int(index): label(gallery.class_name(run, int(index))) for index in set(predicted)}
    return [
        f"{names[int(index)]}, {percent(float(sure), 0)}"
        for index, sure in zip(predicted, confidence, strict=True)
    ]


def _by_set(run: Run, of: ImageMap, _: Decision) -> Iterator[_Group]:
    colours = SetColours.of(run.ood_sets)
    sets = run.members().by_name
    named = {
        CALIBRATION: ("Calibration images", CALIBRATION_COLOUR),
        ID: ("Familiar images", ID_COLOUR),
    }
    named |= {name: (label(name), colours.colour(name)) for name in run.ood_sets}
    for name, (title, colour) in named.items():
        if name in sets:
            yield _Group(title, colour, np.isin(of.rows, sets[name]))


def _by_class(run: Run, of: ImageMap, _: Decision) -> Iterator[_Group]:
    predicted = run.column("predicted")[of.rows]
    classes, counts = np.unique(predicted, return_counts=True)
    largest = classes[np.argsort(-counts, kind="stable")[:MAX_CLASSES]]
    palette = OOD_COLOURS + MORE_COLOURS
    rest = ~np.isin(predicted, largest)
    if rest.any():
        yield _Group("other classes", CALIBRATION_COLOUR, rest)
    for place, index in enumerate(largest):
        name = label(gallery.class_name(run, int(index)))
        yield _Group(name, palette[place], predicted == index)


def _by_decision(run: Run, of: ImageMap, decision: Decision) -> Iterator[_Group]:
    flagged = run.column(decision.detector)[of.rows] > np.float64(decision.value)
    unfamiliar = np.isin(of.rows, run.rows_of(run.ood_sets))
    for kind, symbol, of_kind, right in (
        ("Familiar", "circle", ~unfamiliar, False),
        ("Unfamiliar", "diamond", unfamiliar, True),
    ):
        for verdict, points in (("accepted", ~flagged), ("flagged", flagged)):
            good = (verdict == "flagged") is right
            yield _Group(f"{kind}, {verdict}", GOOD if good else BAD, points & of_kind, symbol)


_GROUPS = {SET: _by_set, CLASS: _by_class, DECISION: _by_decision}


def _by_score(run: Run, of: ImageMap, decision: Decision) -> go.Scatter:
    """The share of familiar images with a lower score: scores themselves have no common scale."""
    scores = run.column(decision.detector)
    familiar = np.sort(scores[run.rows_of([ID])])
    share = np.searchsorted(familiar, scores[of.rows]) / len(familiar)
    marker: dict[str, object] = {
        "color": share.astype(np.float32),
        "colorscale": "Cividis",
        "cmin": 0,
        "cmax": 1,
        "size": 6,
        "colorbar": {
            "title": {"text": "Familiar images<br>with a lower score"},
            "tickformat": ".0%",
            "thickness": 12,
        },
    }
    everything = np.ones(len(of.rows), dtype=bool)
    trace = _points(run, of, everything, label(decision.detector), marker)
    return trace.update(showlegend=False)


def rows_of_points(points: Sequence[dict[str, object]]) -> list[int]:
    """The rows that selected points say, as Streamlit gives them."""
    rows = []
    for point in points:
        said = point.get("customdata")
        row = said[0] if isinstance(said, list) and said else said
        if isinstance(row, int | float):
            rows.append(int(row))
    return rows
