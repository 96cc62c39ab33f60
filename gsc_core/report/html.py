"""The report as one HTML file: static, nothing loaded, no scripts; charts are inline SVG."""

import html
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gsc_core.charts import SetColours
from gsc_core.evaluation import counts
from gsc_core.report.model import Report
from gsc_core.workspace import decision_words

TEMPLATE = "report.html.j2"
DASHES = {
    "solid": "",
    "dash": "9 5",
    "dot": "2 4",
    "dashdot": "9 4 2 4",
    "longdash": "16 6",
    "longdashdot": "16 5 2 5",
}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the file may do in a browser: show its own pictures and colours."""

MOST_LISTED = 50  # class names and the like; the JSON file has all


def to_html(report: Report) -> str:
    """The report as one self-contained page, in which every name is only text."""
    return _environment().get_template(TEMPLATE).render(
        report=report,
        colours=SetColours([line.name for line in report.roc]),
        policy=POLICY,
        settings=_as_text(report.settings),
        provenance=_as_text(_remaining(report.provenance)),
    )  # fmt: skip


def framed(page: str, height: int) -> str:
    """A page that shows another in a sandboxed frame, for a preview inside the app.

    The frame has an origin of its own and runs no scripts, whatever the report holds.
    """
    policy = html.escape(POLICY.replace("default-src", "frame-src 'self'; default-src"), quote=True)
    return (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<iframe sandbox="" title="Preview of the report" '
        f'style="border:0;width:100%;height:{height}px" srcdoc="{html.escape(page, quote=True)}">'
        "</iframe>"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gsc_core.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "percent": lambda share: f"{100 * share:.1f} %",
        "in_1000": counts.in_1000,
        "between": decision_words.between,
        "duration": lambda seconds: str(timedelta(seconds=round(seconds))),
        "steps": _steps,
        "polyline": _polyline,
        "dash": DASHES.__getitem__,
        # The shortest text that is the same float32, as scores are: to judge other pictures by.
        "exact": lambda value: str(np.float32(value)).replace("-", "−"),
        "number": lambda value: f"{value:.4g}".replace("-", "−"),
    }
    return environment


def _printable(value: object) -> object:
    """Control and direction characters become visible: a name cannot turn the text around."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value
    )


def _steps(heights: Sequence[float], width: float, height: float, top: float) -> str:
    """A histogram's outline as an SVG path, `top` being the share that fills the height."""
    step = width / len(heights)
    parts = [f"M0 {height:.1f}"]
    for i, share in enumerate(heights):
        parts.append(f"V{height * (1 - share / top):.1f}H{(i + 1) * step:.1f}")
    return "".join([*parts, f"V{height:.1f}Z"])


def _polyline(points: Sequence[tuple[float, float]], size: float) -> str:
    """A curve over the unit square as points of a square of `size`, the origin at the bottom."""
    return " ".join(f"{size * x:.1f},{size * (1 - y):.1f}" for x, y in points)


def _remaining(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables do not show already."""
    return {key: value for key, value in provenance.items() if key != "image_sets_sha256"}


def _as_text(values: Mapping[str, Any]) -> str:
    """One line a setting."""
    return "\n".join(f"{name}: {_brief(value)}" for name, value in values.items())


def _brief(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > MOST_LISTED:
        more = f"… and {len(value) - MOST_LISTED:,} more"
        value = [*value[:MOST_LISTED], more]
    return json.dumps(value, ensure_ascii=False, default=str)
