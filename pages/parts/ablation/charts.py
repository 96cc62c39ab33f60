"""The figures of an ablation: factors and curves, the paper's rows, how steady gradients are."""

from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gsc_core.ablation import BASES, Ablation
from gsc_core.ablation.comparison import paper_table, reference_rows
from gsc_core.ablation.findings import premise
from gsc_core.ablation.gain import Gain, gain
from gsc_core.ablation.settings import REFERENCE
from gsc_core.charts import ablation as ablation_charts
from gsc_core.evaluation.counts import percent
from pages.parts.shared.text import plain

METRICS = {"fpr95": "Unfamiliar images accepted", "auroc": "Separation"}
PAPER = "https://arxiv.org/abs/2507.01417"
_BASES = {"better": "The better setting", "published": "The setting as summarised"}
_ABOUT = {base.name: base.about for base in BASES}
_CONFIG = {"displayModeBar": False}
_WHERE = {"feature": "At the layer", "picture": "In the image"}


@st.fragment
def factors(run_id: str, found: Ablation) -> None:
    """One thing changed at a time, beside the curves over how much is cut; redraws alone."""
    st.header("One thing changed at a time", anchor=False)
    with st.container(horizontal=True, gap="medium"):
        metric = st.segmented_control(
            "Measure",
            list(METRICS),
            default="fpr95",
            required=True,
            format_func=METRICS.__getitem__,
            key="ablation_metric",
            help="Unfamiliar images accepted: FPR95, the share accepted while 95 % of the familiar "
            "images are; lower is better. Separation of familiar and unfamiliar images: AUROC; "
            "higher is better.",
        )
        base = st.segmented_control(
            "Around",
            list(_BASES),
            default="better",
            required=True,
            format_func=_BASES.__getitem__,
            key="ablation_base",
            help=f"Better: {_ABOUT['better']}. As summarised: {_ABOUT['published']}.",
        )
        ood_set = st.selectbox(
            "Unfamiliar images",
            ["mean", *found.ood_sets],
            format_func=lambda name: "mean of the sets" if name == "mean" else name,
            key="ablation_set",
            width=240,
        )
    st.caption(plain(f"Around {_ABOUT[base]}."))
    left, right = st.columns(2)
    better = "Lower" if metric == "fpr95" else "Higher"
    with left:
        st.plotly_chart(
            _factors(run_id, found, found.facts.seconds, base, metric, ood_set),
            key="ablation_factors",
            config=_CONFIG,
            alt=f"{METRICS[metric]}, with its interval, for each level of each factor.",
        )
        if not found.outdated:
            st.caption(
                "A filled dot differs clearly from the setting itself, a hollow one does not: both "
                "score the same images, so this is a surer test than whether their lines overlap. "
                "Hover over a dot to see by how much."
            )
    with right:
        st.plotly_chart(
            _curves(run_id, found, found.facts.seconds, base, metric, ood_set),
            key="ablation_curves",
            config=_CONFIG,
            alt=f"{METRICS[metric]} over the share cut, a line for each way to choose it.",
        )
        st.caption(
            f"{better} is better. One line for each way to choose what is cut, at the deep layer; "
            "random is the control that any other line must beat. Dotted in both charts: energy, "
            "with nothing cut."
        )
    _references(found, metric, ood_set)


def _references(found: Ablation, metric: str, ood_set: str) -> None:
    """What other readings of the same pass do without any short-circuit, beside both settings."""
    rows = reference_rows(found, ood_set)
    gains = [gain(row, metric) if row["base"] == REFERENCE else None for _, row in rows.iterrows()]
    shown = pd.DataFrame(
        {
            METRICS[metric]: _percent(rows, metric),
            "95 %": _interval(rows, metric),
            "Points better": _points(gains),
        }
    )
    st.dataframe(
        shown.set_index(rows["name"].rename("For comparison")),
        key="ablation_references",
        alt="Detectors without a short-circuit, and both settings with it.",
        column_config={
            "Points better": st.column_config.TextColumn(help=_points_help("the better setting"))
        },
    )


def paper(found: Ablation) -> None:
    """The rows of the paper's own ablation, as they come out on this model."""
    st.header("Compared with the paper", anchor=False)
    table = paper_table(found)
    shown = pd.DataFrame(
        {
            "Row of the paper": table["row"],
            "In the paper, as summarised": _percent(table, "paper_fpr95"),
            "Here, as summarised": _percent(table, "fpr95"),
            "95 %": _interval(table, "fpr95"),
            "Points better": _points(table["gain"]),
            "AUROC": _percent(table, "auroc"),
            "Direction": table["backwards"].map({True: "wrong way", False: "as summarised"}),
            "Learned": _percent(table, "fpr95_learned"),
        }
    )
    shown.loc[shown.index[-1], ["Direction", "Learned"]] = "–"
    st.dataframe(
        shown.fillna("not measured"),
        hide_index=True,
        key="ablation_paper",
        alt="The rows of the paper's ablation with the share of unfamiliar images accepted here.",
        column_config={
            "Points better": st.column_config.TextColumn(
                help=_points_help("the full method, in the share of accepted unfamiliar images")
            ),
            "Learned": st.column_config.TextColumn(
                help="Unfamiliar images accepted when the direction is learned on surrogate images."
            ),
            "Direction": st.column_config.TextColumn(
                help="Wrong way: surrogate images lose less confidence than familiar "
                "images, the opposite of what the paper's summary says."
            ),
        },
    )
    st.caption(
        "Share of unfamiliar images accepted (FPR95), mean of the sets. The paper's column is "
        "quoted from a public summary, which calls its figures approximate: ImageNet-1k, mean of "
        f"four sets. The paper itself was not available for this; see [the paper]({PAPER})."
    )


def gradients(found: Ablation) -> None:
    """The paper's premise, checked: do the gradients of unfamiliar images turn more?"""
    st.header("Do gradients keep their direction?", anchor=False)
    finding = premise(found)
    if finding is None:
        return
    st.markdown(plain(finding.sentence))
    columns = st.columns(2)
    for column, (where, title) in zip(columns, _WHERE.items(), strict=True):
        told = premise(found, where)
        column.plotly_chart(
            ablation_charts.steadiness(found, where),
            key=f"ablation_steady_{where}",
            config=_CONFIG,
            alt=f"{title}: mean cosine of the gradients of each set. {told and told.sentence}",
        )
        noise = "noise on the feature" if where == "feature" else "noise on the image"
        column.caption(f"{title}: a little {noise}.")
    st.caption(
        plain(
            "How far the gradient of the answer keeps its direction when a little noise is added "
            f"(mean cosine; 1 = unchanged), at {found.facts.consistency_layer}. GSC "
            "rests on the observation that the gradients of unfamiliar images turn more."
        )
    )


def surrogates(found: Ablation) -> None:
    """How well surrogate images predict what happens with real unfamiliar images."""
    correlation = found.facts.surrogate_correlation
    if correlation is None:
        return
    guide = "good" if correlation >= 0.8 else "fair" if correlation >= 0.4 else "poor"
    st.markdown(
        plain(
            f"Surrogate images are a {guide} guide to which setting does best on the real "
            f"unfamiliar images (rank correlation {correlation:.2f})."
        )
    )


# The seconds an ablation took distinguish two of them; the ablation itself is not hashed.
@st.cache_data(max_entries=64, show_spinner=False)
def _factors(
    run_id: str, _found: Ablation, took: float, base: str, metric: str, ood_set: str
) -> go.Figure:
    return ablation_charts.factors(_found, base, metric, ood_set=ood_set)


@st.cache_data(max_entries=64, show_spinner=False)
def _curves(
    run_id: str, _found: Ablation, took: float, base: str, metric: str, ood_set: str
) -> go.Figure:
    return ablation_charts.curves(_found, base, metric, ood_set)


def _percent(table: pd.DataFrame, column: str) -> pd.Series:
    values = table[column].astype(float)
    return values.map(lambda value: percent(value, 1), na_action="ignore")


def _interval(table: pd.DataFrame, metric: str) -> pd.Series:
    ends = (_percent(table, f"{metric}_{end}").str.removesuffix(" %") for end in ("low", "high"))
    low, high = ends
    return low + " to " + high


def _points(gains: Iterable[Gain | None]) -> list[str]:
    """By how much a row is better or worse, in points; a dash where it is compared with nothing."""
    return [found.signed() if isinstance(found, Gain) else "–" for found in gains]


def _points_help(than: str) -> str:
    return (
        f"Percentage points by which the row is better than {than}; below 0 it is worse. With the "
        "95 % interval, both scored on the same images: where it excludes 0, they differ clearly."
    )
