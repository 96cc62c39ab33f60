"""One explained image as Plotly figures: what its top channels do, beside what is usual."""

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from gsc_core.charts.scores import QUIET, dressed
from gsc_core.explanation import ChannelReading
from gsc_core.run.set_colours import ID_COLOUR, OOD_COLOURS

Reading = Literal["contribution", "gradient", "activation"]

TITLES: dict[Reading, str] = {
    "contribution": "Contribution to the answer (logit)",
    "gradient": "Gradient (pull on the answer)",
    "activation": "Activation (mean over the map)",
}
CUT_COLOUR, LEFT_COLOUR = OOD_COLOURS[0], OOD_COLOURS[1]
_ROW, _AROUND = 22, 84  # pixels


def channel_bars(channels: Sequence[ChannelReading], reading: Reading) -> go.Figure:
    """One reading of some channels as bars, the leading one on top.

    A bracket on each bar is the channel's usual range: the middle 90 % on familiar images, with
    a stroke at the median. Short-circuited channels and others differ in colour and hatching.
    """
    figure = go.Figure()
    for cut, name, colour, hatch in (
        (True, "short-circuited", CUT_COLOUR, ""),
        (False, "unchanged", LEFT_COLOUR, "/"),
    ):
        group = [channel for channel in channels if channel.short_circuited is cut]
        if group:
            figure.add_trace(
                go.Bar(
                    x=[getattr(channel, reading) for channel in group],
                    y=[_named(channel) for channel in group],
                    orientation="h",
                    name=name,
                    marker={"color": colour, "pattern": {"shape": hatch}, "line": {"width": 0}},
                    hovertemplate="%{y}: %{x:.3g}",
                )
            )
    _add_usual(figure, channels, reading)
    figure.update_layout(
        height=_AROUND + _ROW * len(channels),
        barmode="overlay",
        bargap=0.35,
        title={"text": TITLES[reading], "font": {"size": 14}, "x": 0, "xref": "container"},
    )
    dressed(figure)
    # Three of these stand side by side: the page says once what colours and brackets mean.
    figure.update_layout(showlegend=False, margin={"t": 40, "b": 36, "l": 48, "r": 8})
    order = [_named(channel) for channel in channels]
    figure.update_yaxes(
        categoryorder="array", categoryarray=order[::-1], showgrid=False, type="category"
    )
    figure.update_xaxes(zeroline=True, zerolinecolor=QUIET, nticks=5, side="bottom")
    return figure


def _add_usual(figure: go.Figure, channels: Sequence[ChannelReading], reading: Reading) -> None:
    with_usual = [(channel, getattr(channel, f"normal_{reading}")) for channel in channels]
    with_usual = [(channel, usual) for channel, usual in with_usual if usual is not None]
    if not with_usual:
        return
    figure.add_trace(
        go.Scatter(
            x=[usual.median for _, usual in with_usual],
            y=[_named(channel) for channel, _ in with_usual],
            mode="markers",
            name="usual range",
            marker={"symbol": "line-ns", "size": 9, "line": {"width": 2, "color": ID_COLOUR}},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [usual.high - usual.median for _, usual in with_usual],
                "arrayminus": [usual.median - usual.low for _, usual in with_usual],
                "color": ID_COLOUR,
                "thickness": 2,
                "width": 4,
            },
            hovertemplate="%{y}: usually about %{x:.3g}",
        )
    )


def _named(channel: ChannelReading) -> str:
    return f"{channel.index}"
