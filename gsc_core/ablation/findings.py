"""What an ablation says, in sentences of counts in 1,000 pictures: the answer before the charts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from gsc_core.ablation.grid import REFERENCE
from gsc_core.ablation.table import Ablation
from gsc_core.evaluation.counts import in_1000

BETTER, PUBLISHED = "better", "published"
LEAST_DIFFERENCE = 0.01  # of mean cosines: less is of no use, however sure


class Verdict(StrEnum):
    """Whether a part of the method lets fewer strangers through on this model."""

    HELPS = "helps"
    HURTS = "hurts"
    SAME = "no difference"


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether what it is about helps here."""

    verdict: Verdict
    sentence: str


def compare(row: pd.Series, other: pd.Series) -> Verdict:
    """Whether `row` lets fewer strangers through than `other`, beyond their doubt.

    The interval of the difference is had from the two (Zou and Donner, 2008). That both rows judge
    the same pictures would narrow it, so this errs on the side of no difference.
    """
    lower, upper = (row, other) if row["fpr95"] < other["fpr95"] else (other, row)
    doubt = math.hypot(lower["fpr95_high"] - lower["fpr95"], upper["fpr95"] - upper["fpr95_low"])
    if upper["fpr95"] - lower["fpr95"] <= doubt:
        return Verdict.SAME
    return Verdict.HELPS if lower is row else Verdict.HURTS


def answer(ablation: Ablation) -> str:
    """The whole ablation in one sentence: does a short-circuit help on this model?"""
    bare, cut = best_without(ablation), ablation.base(BETTER)
    if bare is None or cut is None:
        return "The settings that could run on this model are below."
    counts = f"{passing(cut)} strangers pass with it, {passing(bare)} at best without"
    match compare(cut, bare):
        case Verdict.HELPS:
            return f"The short-circuit helps on this model: {counts}."
        case Verdict.HURTS:
            return f"The short-circuit hurts on this model: {counts}."
    return f"The short-circuit makes no sure difference on this model: {counts}."


def best_without(ablation: Ablation) -> pd.Series | None:
    """The best that the same logits give with nothing cut: what a short-circuit must beat."""
    rows = ablation.rows(base=REFERENCE)
    bare = rows[rows["detector"] != "gradnorm"].sort_values("fpr95", kind="stable")
    return None if bare.empty else bare.iloc[0]


def findings(ablation: Ablation) -> list[Finding]:
    """What helps and what hurts, the most important first; what could not run is left out."""
    return [
        *_published(ablation),
        *_direction(ablation),
        *_share(ablation),
        *_layer(ablation),
        *_update(ablation),
        *_ranking(ablation),
        *_accuracy(ablation),
    ]


def premise(ablation: Ablation, where: str = "feature") -> Finding | None:
    """Whether strangers' gradients turn more than familiar ones', as the paper presumes."""
    rows = [row for row in ablation.facts.consistency if row.where == where]
    strangers = [row for row in rows if row.set != "id"]
    if not strangers:
        return None
    if all(row.linear for row in ablation.facts.layers):
        return Finding(
            Verdict.SAME,
            "All after the layer is linear, so no gradient ever turns: the paper's premise cannot "
            "be seen on this model.",
        )
    sure = [row for row in strangers if row.difference_low > 0 or row.difference_high < 0]
    as_published = [row.set for row in sure if row.difference >= LEAST_DIFFERENCE]
    reverse = [row.set for row in sure if row.difference <= -LEAST_DIFFERENCE]
    known = next(row for row in rows if row.set == "id")
    least, most = (f(row.mean for row in strangers) for f in (min, max))
    of_strangers = (
        f"{least:.3f}" if f"{least:.3f}" == f"{most:.3f}" else f"{least:.3f} to {most:.3f}"
    )
    numbers = f"mean cosine {known.mean:.3f} for familiar pictures, {of_strangers} for strangers"
    n = len(strangers)
    if len(as_published) == n:
        told, verdict = "holds on this model", Verdict.HELPS
    elif len(reverse) == n:
        told, verdict = "is the other way round on this model", Verdict.HURTS
    elif as_published or reverse:
        told = f"holds for {len(as_published)} of {n} sets"
        told += f" and is the other way round for {len(reverse)}" if reverse else ""
        verdict = Verdict.SAME
    else:
        told, verdict = "is not seen on this model", Verdict.SAME
    return Finding(verdict, f"The paper's premise {told}: {numbers}.")


def sentences(ablation: Ablation) -> list[str]:
    """All that is said of an ablation, the answer first."""
    told = [*findings(ablation), premise(ablation)]
    return [answer(ablation), *(f"- {finding.sentence}" for finding in told if finding)]


def document(ablation: Ablation) -> dict[str, Any]:
    """An ablation as one JSON document: the answer, the findings, the facts, every row."""
    return {
        "answer": answer(ablation),
        "findings": [
            {"verdict": str(each.verdict), "sentence": each.sentence} for each in findings(ablation)
        ],
        "facts": ablation.facts.model_dump(mode="json"),
        "rows": json.loads(ablation.table.to_json(orient="records", double_precision=12)),
    }


def passing(row: pd.Series) -> str:
    """How many of 1,000 strangers a row lets through."""
    return f"{in_1000(float(row['fpr95']))} of 1,000"


def _published(ablation: Ablation) -> Iterator[Finding]:
    row = ablation.row(base=PUBLISHED, factor="direction", level="published", depth="deep")
    bare = ablation.row(base=REFERENCE, detector="msp")
    if row is None or bare is None:
        return
    told = f"{passing(row)} strangers pass, against {passing(bare)} by the softmax alone"
    yield Finding(compare(row, bare), f"As published (top 20 % of the values): {told}.")


def _direction(ablation: Ablation) -> Iterator[Finding]:
    where = {"base": PUBLISHED, "factor": "direction", "depth": "deep"}
    learned = ablation.row(level="learned", **where)
    published = ablation.row(level="published", **where)
    if learned is None or published is None:
        return
    if not published["backwards"]:
        yield Finding(
            Verdict.SAME,
            "The published direction is right here: stand-ins for strangers, too, lose more "
            "confidence than familiar pictures.",
        )
        return
    helps = compare(learned, published)
    told = f"{passing(published)} strangers pass; turned, {passing(learned)}"
    text = "Keeping the published direction is backwards here"
    if helps is not Verdict.HELPS:
        text = "Stand-ins for strangers say that the published direction is backwards"
    yield Finding(helps, f"{text}: {told}.")


def _share(ablation: Ablation) -> Iterator[Finding]:
    rows = ablation.rows(base=BETTER, factor="share", depth="deep")
    if len(rows) < 2:
        return
    ordered = rows.sort_values("fpr95", kind="stable")
    best, worst = ordered.iloc[0], ordered.iloc[-1]
    told = (
        f"best with {best['level']} of the channels cut ({passing(best)} pass), "
        f"worst with {worst['level']} ({passing(worst)} pass)"
    )
    none = rows[rows["share"] == 0]
    verdict = compare(best, none.iloc[0]) if len(none) else Verdict.SAME
    yield Finding(verdict, f"How much to cut: {told}.")


def _layer(ablation: Ablation) -> Iterator[Finding]:
    deep, shallow = ablation.base(BETTER), ablation.base(BETTER, "shallow")
    if deep is None or shallow is None:
        return
    verdict = compare(deep, shallow)
    told = {
        Verdict.HELPS: "The deep layer is the better one",
        Verdict.HURTS: "The shallow layer is the better one",
        Verdict.SAME: "Deep or shallow layer: no sure difference",
    }[verdict]
    yield Finding(
        verdict,
        f"{told}: {passing(deep)} pass at {deep['layer']}, {passing(shallow)} at "
        f"{shallow['layer']}.",
    )


def _update(ablation: Ablation) -> Iterator[Finding]:
    layers = {layer.name: layer for layer in ablation.facts.layers}
    where = {"base": BETTER, "factor": "update", "depth": "deep"}
    quick = ablation.row(level="first order", **where)
    exact = ablation.row(level="computed again", **where)
    if quick is None or exact is None:
        return
    if layers[quick["layer"]].linear:
        text = "The first-order estimate is exact: all after the deep layer is linear."
        yield Finding(Verdict.SAME, text)
        return
    verdict = compare(quick, exact)
    told = {
        Verdict.HELPS: "lets fewer strangers through than",
        Verdict.HURTS: "costs something against",
        Verdict.SAME: "does as well as",
    }[verdict]
    yield Finding(
        verdict,
        f"The first-order estimate {told} computing the logits again: {passing(quick)} pass, "
        f"{passing(exact)} computed again.",
    )


def _ranking(ablation: Ablation) -> Iterator[Finding]:
    where = {"base": BETTER, "factor": "ranking", "depth": "deep"}
    best = ablation.row(level="attribution", **where)
    control = ablation.row(level="random", **where)
    if best is None or control is None:
        return
    verdict = compare(best, control)
    counts = f"{passing(best)} pass by attribution, {passing(control)} at random"
    told = {
        Verdict.HELPS: "Choosing the channels by what the prediction leans on matters",
        Verdict.HURTS: "Channels taken at random do better than the chosen ones",
        Verdict.SAME: "Channels taken at random do as well as the chosen ones",
    }[verdict]
    yield Finding(verdict, f"{told}: {counts}.")


def _accuracy(ablation: Ablation) -> Iterator[Finding]:
    """What is left of the classifier where the cut feature is used for the answer as well."""
    whole = ablation.facts.id_accuracy
    better, published = ablation.base(BETTER), ablation.base(PUBLISHED)
    if whole is None or better is None or published is None:
        return
    counts = [round(1000 * float(row["id_accuracy_after"])) for row in (better, published)]
    yield Finding(
        Verdict.SAME,
        f"Of 1,000 familiar pictures {round(1000 * whole):,} are named right; after the "
        f"short-circuit {counts[0]:,} with the better setting, {counts[1]:,} with the published.",
    )
