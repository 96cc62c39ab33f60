"""Measures with their intervals in a table: numbers to sort by, shaded by how good they are."""

import pandas as pd
from pandas.io.formats.style import Styler

from gsc_core.evaluation.intervals import Interval
from gsc_core.run.winners import HIGHER_IS_BETTER

METRIC_NAMES = {
    "fpr95": "FPR95: unfamiliar images accepted",
    "fpr95_ood_positive": "FPR95, OOD positive: familiar images flagged",
    "auroc": "AUROC: familiar and unfamiliar separated",
    "aupr_in": "AUPR-in: precision for familiar images",
    "aupr_out": "AUPR-out: precision for unfamiliar images",
    "detection_error": "Detection error: lowest mean of both error rates",
}
MEANINGS = {
    "fpr95": "The threshold accepts 95 % of the familiar images.",
    "fpr95_ood_positive": "The threshold flags 95 % of the unfamiliar images, as in OpenOOD.",
    "auroc": "How often an unfamiliar image scores higher than a familiar one; 50 is a coin toss.",
    "aupr_in": "Average share of familiar images among those accepted.",
    "aupr_out": "Average share of unfamiliar images among those flagged.",
    "detection_error": "At the threshold that makes the fewest mistakes.",
}


def better(metric: str) -> str:
    """Which way a metric is better, as the first word of a sentence."""
    return "Higher" if metric in HIGHER_IS_BETTER else "Lower"


class _Percent(float):
    """A value to sort by that remembers how it is shown: one formatter serves all cells."""

    text: str


def styled(cells: pd.DataFrame, metric: str) -> Styler:
    """A table of `Interval` (or None) as percent, each shown as `31.2 (28.0–34.5)`.

    A plain share is shown as `31.2`. A Styler keeps both in a cell, the number to sort by and the
    text.
    """
    rows = [[_percent(cell) for cell in row] for row in cells.to_numpy()]
    numbers = pd.DataFrame(rows, index=cells.index, columns=cells.columns, dtype=object)
    shades = cells.map(lambda cell: _shade(cell, metric))
    styler = numbers.style.format(lambda shown: getattr(shown, "text", "–"))
    return styler.apply(lambda _: shades, axis=None)


def in_words(cell: Interval) -> str:
    """Percent with the 95 % interval in brackets."""
    return f"{100 * cell.value:.1f} ({100 * cell.low:.1f}–{100 * cell.high:.1f})"


def _percent(cell: object) -> _Percent | None:
    value = _value(cell)
    if value is None:
        return None
    percent = _Percent(100 * value)
    percent.text = in_words(cell) if isinstance(cell, Interval) else f"{100 * value:.1f}"
    return percent


def _value(cell: object) -> float | None:
    if isinstance(cell, Interval):
        return cell.value
    return cell if isinstance(cell, float) else None


def _shade(cell: object, metric: str) -> str:
    value = _value(cell)
    if value is None:
        return ""
    good = value if metric in HIGHER_IS_BETTER else 1 - value
    return f"background-color: rgba(30, 150, 160, {0.34 * good**2:.2f})"
