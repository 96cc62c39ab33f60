"""What is accepted, set by set and class by class, the worst first."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from gsc_core.errors import GscError
from gsc_core.evaluation.thresholds import Acceptance, Effect
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.stored import Run
from gsc_core.sentences.threshold import between
from pages.parts.shared.text import plain
from pages.parts.thresholds.classes import swallowing

TALL = 12  # rows, above which a table scrolls
_IN_1000 = st.column_config.NumberColumn(format="%.0f")
_BAR: dict[str, Any] = {"format": "%.0f", "min_value": 0, "max_value": 1000}

_CLASS_COLUMNS = {
    name: column
    for kind in ("unfamiliar", "familiar")
    for name, column in {
        f"Accepted {kind} images": st.column_config.ProgressColumn(
            f"Accepted {kind} images", **_BAR
        ),
        f"{kind}: interval": st.column_config.TextColumn("95 % interval"),
        f"{kind}: tested": st.column_config.NumberColumn("Tested"),
    }.items()
}


def sets_table(found: Effect) -> None:
    """One row a set, sortable; scrolls when there are many."""
    st.header("Set by set", anchor=False)
    rows = sorted(found.ood.items(), key=lambda item: -item[1].share)
    frame = pd.DataFrame(
        {
            "Set of unfamiliar images": [name for name, _ in rows],
            "Of 1,000": [1000 * one.share for _, one in rows],
            "At least": [1000 * one.low for _, one in rows],
            "At most": [1000 * one.high for _, one in rows],
            "Tested": [one.total for _, one in rows],
            "Accepted": [one.accepted for _, one in rows],
        }
    )
    _table(
        frame,
        "threshold_sets",
        {
            "Of 1,000": st.column_config.ProgressColumn("Accepted, of 1,000", **_BAR),
            "At least": _IN_1000,
            "At most": _IN_1000,
        },
        "Of 1,000 images of each unfamiliar set, how many are accepted at this threshold.",
    )
    st.caption(
        "Counts of 1,000 images of that kind; at least and at most are the ends of the exact "
        "95 % interval. Tested and Accepted count the images of this audit."
    )


def classes_table(run: Run, decision: Decision, *, trial: bool) -> None:
    """One row for each class that some test image is classified as; computed once opened.

    `trial` as in `decisions.effect_of`.
    """
    opened = st.expander("Class by class", key="threshold_classes_open", on_change="rerun")
    if not opened.open:
        return
    with opened:
        try:
            rows = decisions.effect_by_class(run, decision, trial=trial)
        except GscError as error:
            st.warning(plain(str(error)))
            return
        frame = pd.DataFrame(
            {"Classified as": [row.name for row in rows]}
            | _class_columns("unfamiliar", [row.ood for row in rows])
            | _class_columns("familiar", [row.id for row in rows])
        )
        swallowing(run, decision, rows, trial=trial)
        _table(
            frame,
            "threshold_classes",
            _CLASS_COLUMNS,
            "Accepted images, by the class that the classifier gives them.",
        )
        st.caption(
            "Counts of 1,000 images by the class that the classifier gives them, unfamiliar "
            "images of all sets together, with the exact 95 % interval and how many were tested. "
            "The classes with the most accepted unfamiliar images come first."
        )


def _class_columns(kind: str, found: Sequence[Acceptance | None]) -> dict[str, list[Any]]:
    """The share of 1,000, its interval and the images tested; empty where there are none."""
    return {
        f"Accepted {kind} images": [1000 * one.share if one else None for one in found],
        f"{kind}: interval": [between(one) if one else "" for one in found],
        f"{kind}: tested": [one.total if one else 0 for one in found],
    }


def _table(frame: pd.DataFrame, key: str, columns: dict[str, Any], alt: str) -> None:
    st.dataframe(
        frame,
        key=key,
        hide_index=True,
        height="content" if len(frame) <= TALL else 460,
        column_config=columns,
        alt=alt,
    )
