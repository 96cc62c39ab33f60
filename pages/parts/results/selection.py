"""How detectors of a run chose their settings: which, over which, on surrogate images alone."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from gsc_core.evaluation.selection import Selection
from gsc_core.images.surrogate_kinds import SURROGATE_KINDS
from gsc_core.run.stored import Run
from gsc_core.sentences.selection import ALL, Measure, choice_sentences, panel, table
from pages.parts.shared.text import plain

MEASURES: dict[Measure, str] = {"fpr95": "Accepted (FPR95)", "auroc": "Separated (AUROC)"}
MISTAKES = (
    "What the choice is based on, in percent: for each kind of surrogate image the mean of FPR95 "
    "and 100 − AUROC, then the geometric mean over the kinds. Lower is better."
)


@st.fragment
def own_choices(run: Run) -> None:
    """What was chosen and what from; drawn when opened. Nothing for a run that chose nothing."""
    names = [*run.document.selections, *run.document.partners, *run.document.fusions]
    if not names:
        for sentence in choice_sentences(run):  # of settings from a file
            st.caption(plain(sentence))
        return
    itself = "itself" if len(names) == 1 else "themselves"
    title = f"**How {plain(' and '.join(names))} tuned {itself}**: on surrogate images alone"
    key = "results_selection"
    with st.expander(title, key=key, on_change="rerun", bind="query-params") as section:
        if section.open:
            _show(run)


def _show(run: Run) -> None:
    for sentence in choice_sentences(run):
        st.markdown(plain(sentence))
    for name, selection in run.document.selections.items():
        _tried(name, selection, run.settings.split)
    for name, losses in run.document.partners.items():
        _panel(name, losses)


def _tried(name: str, selection: Selection, split: str | None) -> None:
    st.caption(
        f"No unfamiliar image was used for this. From {selection.images:,} calibration images, "
        f"{selection.surrogates:,} surrogate images of the kinds "
        f"{', '.join(selection.chosen.by_kind)} were made. They stand for unfamiliar ones."
    )
    measure = st.segmented_control(
        "Figures on surrogate images",
        list(MEASURES),
        default="fpr95",
        required=True,
        format_func=MEASURES.__getitem__,
        key=f"selection_measure_{name}",
        wrap=True,
        help="FPR95: of 100 surrogate images, how many are accepted while 95 % of the familiar "
        "images are. "
        "AUROC: how often a surrogate image scores higher than a familiar image, in percent.",
    )
    shown = table(selection, split, measure)
    st.dataframe(
        shown,
        hide_index=True,
        key=f"selection_table_{name}",
        height="content",
        column_config=_columns(shown, measure),
        alt=f"The best settings that {name} tried, with their figures on each kind of surrogate "
        "image.",
    )
    compared = len({each.short_circuit for each in selection.tried})
    st.caption(
        f"The best of {compared:,} ways to cut that were tried on all surrogate images, each with "
        f"and without capping the pooled features; {selection.dropped:,} others did worse on a "
        "part of them and were dropped. Where several are about equally good, the simplest is used."
    )


def _columns(shown: pd.DataFrame, measure: Measure) -> dict[str, Any]:
    """Headings and what they mean; the kinds of surrogate images explain themselves."""
    about = {kind.name: kind.description for kind in SURROGATE_KINDS}
    word = "FPR95" if measure == "fpr95" else "AUROC"
    after = list(shown.columns[list(shown.columns).index(ALL) + 1 :])
    percent = {
        kind: st.column_config.NumberColumn(
            kind,
            format="%.0f",
            width=52,
            help=f"{word} on surrogate images of this kind: {about.get(kind, kind)}.",
        )
        for kind in after
    }
    return {
        "Chosen": st.column_config.TextColumn("", width=30, help="The chosen one."),
        "Where": st.column_config.TextColumn(
            help="The layer whose output is cut; the pooled feature is what the last layer reads."
        ),
        "What": st.column_config.TextColumn(
            help="How many of the single values or whole channels, the most important first."
        ),
        "By": st.column_config.TextColumn(
            help="How importance is measured: by the prediction's gradient, the activation, or "
            "their product (attribution)."
        ),
        "How": st.column_config.TextColumn(
            help="Set to zero, or capped at a value that familiar images rarely exceed."
        ),
        "Features": st.column_config.TextColumn(
            help="Capped: unusually strong pooled features are limited before the score is read."
        ),
        "Mistakes": st.column_config.NumberColumn(format="%.1f", width=72, help=MISTAKES),
        ALL: st.column_config.NumberColumn(
            word, format="%.0f", width=56, help=f"{word} on all surrogate images together, percent."
        ),
        **percent,
    }


def _panel(name: str, losses: Mapping[str, float]) -> None:
    st.markdown(f"**Which detector could be the partner of {plain(name)}**")
    st.dataframe(
        panel(losses),
        hide_index=True,
        key=f"selection_panel_{name}",
        height="content",
        column_config={
            "Mistakes": st.column_config.NumberColumn(
                "Mistakes together", format="%.1f", help=MISTAKES
            )
        },
        alt=f"Each detector that {name} could take, with the mistakes both make on surrogate "
        "images.",
    )
