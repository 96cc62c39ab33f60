"""The confidence beside what is right, and what is wrong of the accepted, by who may refuse."""

import plotly.graph_objects as go

from gsc_core.charts.scores import dressed
from gsc_core.charts.threshold import MARK
from gsc_core.evaluation.calibration import ConfidenceCalibration
from gsc_core.evaluation.reliability import Curve, Frontier
from gsc_core.run.reliability import AcceptedErrors
from gsc_core.run.set_colours import ID_COLOUR, OOD_COLOURS
from gsc_core.run.way_looks import LOOKS

HEIGHT = 360


def reliability(calibration: ConfidenceCalibration) -> go.Figure:
    """A reliability diagram: each group's accuracy over its confidence, with its interval."""
    groups = calibration.groups
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="Right as often as it says",
        line={"color": ID_COLOUR, "dash": "dash", "width": 1.5},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[group.confidence for group in groups],
        y=[group.accuracy for group in groups],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [group.high - group.accuracy for group in groups],
            "arrayminus": [group.accuracy - group.low for group in groups],
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[(group.right, group.images) for group in groups],
        mode="lines+markers",
        name="This classifier",
        cliponaxis=False,
        marker={"color": OOD_COLOURS[1], "size": 8},
        line={"color": OOD_COLOURS[1], "width": 1},
        hovertemplate="says %{x:.1%}, right %{y:.1%}<br>%{customdata[0]:,} of "
        "%{customdata[1]:,} images<extra></extra>",
    )
    least = min(0.9, *(min(group.confidence, group.low) for group in groups))
    shares = {"tickformat": ".0%", "range": [least - 0.02, 1.02], "nticks": 6}
    figure.update_xaxes(title_text="How sure it says it is", **shares)
    figure.update_yaxes(title_text="How often it is right", **shares)
    return _dressed(figure)


def errors(frontier: Frontier, decided: AcceptedErrors) -> go.Figure:
    """Wrong answers among accepted images over the share accepted, with a point at the decision."""
    figure = go.Figure()
    for way, look in LOOKS.items():
        curve: Curve = getattr(frontier, way)
        figure.add_scatter(
            x=curve.accepted,
            y=curve.wrong,
            mode="lines",
            name=look.title,
            line={"color": look.colour, "dash": look.dash, "width": 2},
            hovertemplate="%{x:.1%} are accepted, and %{y:.1%} of these are answered wrongly",
        )
    figure.add_scatter(
        x=[decided.accepted],
        y=[decided.wrong.value],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [decided.wrong.high - decided.wrong.value],
            "arrayminus": [decided.wrong.value - decided.wrong.low],
        },
        mode="markers",
        name="This run's threshold",
        cliponaxis=False,
        marker={"color": MARK, "size": 13, "line": {"color": "white", "width": 2}},
        hovertemplate="%{x:.1%} are accepted, and %{y:.1%} of these are answered wrongly",
    )
    figure.update_xaxes(title_text="Share of images accepted", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(
        title_text="Share of these answered wrongly",
        tickformat=".1~%",
        rangemode="tozero",
        nticks=6,
    )
    return _dressed(figure)


def _dressed(figure: go.Figure) -> go.Figure:
    """The house's look; on a narrow page the legend needs two lines."""
    dressed(figure)
    return figure.update_layout(
        height=HEIGHT,
        margin={"l": 64, "r": 16, "t": 16, "b": 112},
        legend={"y": -0.26, "yanchor": "top"},
        showlegend=True,
    )
