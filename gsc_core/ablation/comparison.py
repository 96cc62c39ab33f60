"""An ablation in tables to be read side by side: the paper's rows, and what needs no cut at all."""

from __future__ import annotations

import pandas as pd

from gsc_core.ablation.gain import gain
from gsc_core.ablation.settings import BASES, FULL_METHOD, PAPER, PAPER_ROWS, PUBLISHED, REFERENCE
from gsc_core.ablation.table import Ablation

_PAPER_COLUMNS = (
    "row",
    "fpr95",
    "fpr95_low",
    "fpr95_high",
    "auroc",
    "gain",
    "backwards",
    "fpr95_learned",
    "auroc_learned",
    "paper_fpr95",
    "paper_auroc",
)


def paper_table(ablation: Ablation) -> pd.DataFrame:
    """The rows of the paper's ablation as they come out here, a line each.

    Columns: `row`; `fpr95`, `fpr95_low`, `fpr95_high`, `auroc` with the published direction (NaN
    where it could not run); `gain`, of its FPR95 over the full method; `backwards`;
    `fpr95_learned`, `auroc_learned` with the direction that surrogate outliers teach;
    `paper_fpr95`, `paper_auroc` as a summary of the paper quotes them.
    """
    lines = []
    for level, of_paper in PAPER_ROWS.items():
        row = ablation.row(base=PUBLISHED.name, factor=PAPER, level=level, depth=of_paper.depth)
        summarised = {"paper_fpr95": of_paper.fpr95, "paper_auroc": of_paper.auroc}
        line = {} if row is None else _beside(ablation, row)
        lines.append({"row": level} | summarised | line)
    return pd.DataFrame(lines, columns=[*_PAPER_COLUMNS])


def reference_rows(ablation: Ablation, ood_set: str = "mean") -> pd.DataFrame:
    """Both bases and the detectors without a short-circuit, best FPR95 first; `name` names them."""
    bases = [(base.title, ablation.base(base.name, ood_set=ood_set)) for base in BASES]
    lines = [row.to_dict() | {"name": f"GSC, {title}"} for title, row in bases if row is not None]
    for _, row in ablation.rows(ood_set, base=REFERENCE).iterrows():
        lines.append(row.to_dict() | {"name": row["level"]})
    return pd.DataFrame(lines).sort_values("fpr95", kind="stable", ignore_index=True)


def _beside(ablation: Ablation, row: pd.Series) -> dict[str, object]:
    """A published row with what the learned direction makes of the same scores."""
    learned = ablation.rows(
        base=row["base"], depth=row["depth"], detector=row["detector"], direction="learned"
    )
    line = {key: row[key] for key in ("fpr95", "fpr95_low", "fpr95_high", "auroc")}
    line |= {"backwards": bool(row["backwards"])}
    line["gain"] = None if row["level"] == FULL_METHOD else gain(row)
    if not learned.empty:
        line |= {f"{metric}_learned": learned.iloc[0][metric] for metric in ("fpr95", "auroc")}
    return line
