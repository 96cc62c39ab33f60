"""The report as one HTML file: static, nothing loaded, no scripts; charts are inline SVG."""

import html
import math
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gsc_core.evaluation import counts
from gsc_core.evaluation.counts import percent, percentile
from gsc_core.extras import require
from gsc_core.report import figures
from gsc_core.report.model import Explained, Report, SetTested
from gsc_core.report.printable import printable
from gsc_core.report.settings_words import settings_in_words
from gsc_core.sentences.threshold import between

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "report.html.j2"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the file may do in a browser: show its own images and colours."""


def to_html(report: Report) -> str:
    """The report as one self-contained page, in which every name is only text.

    Raises MissingExtra where jinja2 is not installed.
    """
    return _environment().get_template(TEMPLATE).render(
        report=report,
        figures=figures,
        policy=POLICY,
        settings=settings_in_words(report),
    )  # fmt: skip


def framed(page: str, height: int) -> str:
    """A page that shows another in a sandboxed frame, for a preview inside the app.

    The frame has an origin of its own and runs no scripts, whatever the report holds. It is as high
    as the window around it leaves, at most `height` pixels: the report alone scrolls.
    """
    policy = html.escape(POLICY.replace("default-src", "frame-src 'self'; default-src"), quote=True)
    return (
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<iframe sandbox="" title="Preview of the report" '
        f'style="display:block;border:0;width:100%;height:min({height}px, calc(100vh - 16px))" '
        f'srcdoc="{html.escape(page, quote=True)}"></iframe>'
    )


@cache
def _environment() -> "Environment":
    require("jinja2")
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an extra
    from markupsafe import Markup  # noqa: PLC0415 - comes with it

    environment = Environment(
        loader=PackageLoader("gsc_core.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters |= {
        "percent": lambda share: Markup("{}&nbsp;%").format(percent(share, 1).removesuffix(" %")),
        "in_1000": counts.in_1000,
        "between": between,
        "duration": lambda seconds: str(timedelta(seconds=round(seconds))),
        # Figures are SVG in which every name is text by construction.
        "drawn": Markup,
        "exact": _exact,
        "is_finite": math.isfinite,
        "sure": lambda confidence: percentile(100 * confidence),
        "moment": _moment,
        "cut": _cut,
        "number": lambda value: f"{value:.4g}".replace("-", "−"),
        "answer": _answer,
        "left_out": _left_out,
    }
    return environment


def _seen(value: object) -> object:
    """Control and direction characters become visible: a name cannot turn the text around.

    A number keeps its percent sign beside it where the line breaks.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", printable(value))


def _exact(value: float) -> str:
    """The shortest text that is the same float32, as scores are: to judge other images by."""
    if math.isinf(value):
        return f"infinite ({'every image is accepted' if value > 0 else 'every image is flagged'})"
    return str(np.float32(value)).replace("-", "−")


def _moment(text: str) -> str:
    """A recorded time as `27 November 2026, 16:21 UTC`; what is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return f"{moment:%d %B %Y, %H:%M}"
        return f"{moment.astimezone(UTC):%d %B %Y, %H:%M} UTC"
    except (ValueError, OverflowError):
        return text


def _cut(told: Explained) -> str:
    """How much was cut: whole channels, or some of their values."""
    channels = f"{told.channels_cut:,} of {told.channel_count:,} channels"
    if math.isclose(told.share_cut, told.channels_cut / told.channel_count, rel_tol=0.01):
        return f"{channels} {'was' if told.channels_cut == 1 else 'were'} cut"
    share = float(f"{told.share_cut:.2g}")
    return f"{percent(share)} of the values were cut, in {channels}"


def _answer(told: Explained) -> str:
    """What the cut does to the answer's points, as they are shown."""
    before, after = _points(told.logit_before), _points(told.logit_after)
    if before == after:
        return f"the answer stays at {after} points"
    verb = "falls" if told.logit_after < told.logit_before else "rises"
    return f"the answer {verb} from {before} to {after} points"


def _points(value: float) -> str:
    """Points of an answer, as many digits as matter: `14.7`, `1.6`, `0.03`, `0`."""
    if abs(value) < 0.005:
        return "0"
    return f"{value:.{1 if abs(value) >= 1 else 2}f}".replace("-", "−")


def _left_out(one: SetTested) -> str:
    """How many images of a set were not scored, and why."""
    counted = ((one.broken, "unreadable"), (one.duplicates, "duplicates"))
    return ", ".join(f"{count:,} {why}" for count, why in counted if count) or "none"
