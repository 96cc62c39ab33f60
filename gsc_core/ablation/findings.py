"""What an ablation says, in sentences of counts in 1,000 images: the answer before the charts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gsc_core.ablation.gain import Gain, Influence, gain
from gsc_core.ablation.settings import BETTER, FULL_METHOD, LAYER, PAPER, PUBLISHED, REFERENCE
from gsc_core.ablation.table import Ablation
from gsc_core.evaluation.counts import in_1000, percent

LEAST_DIFFERENCE = 0.01  # of mean cosines: less is of no use, however sure
OUTDATED = (
    "This ablation was made by an older version, which did not compare settings image by "
    "image: run it again to see what helps and what hurts."
)


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether what it is about helps here."""

    verdict: Influence
    sentence: str


def answer(ablation: Ablation) -> str:
    """The whole ablation in one sentence: does a short-circuit help on this model?"""
    if ablation.outdated:
        return OUTDATED
    bare, cut = best_without(ablation), ablation.base(BETTER.name)
    without = gain(bare)
    if bare is None or cut is None or without is None:
        return "The settings that could run on this model are below."
    cutting = without.reversed()
    outcome = {
        Influence.HELPS: "helps on this model",
        Influence.HURTS: "hurts on this model",
        Influence.SAME: "makes no clear difference on this model",
    }[cutting.verdict]
    return (
        f"The short-circuit {outcome}: {passing(cut)} unfamiliar images are accepted with it, "
        f"{passing(bare)} at best without, {cutting.fewer()}."
    )


def best_without(ablation: Ablation) -> pd.Series | None:
    """The best that the same logits give with nothing cut: what a short-circuit must beat."""
    rows = ablation.rows(base=REFERENCE)
    bare = rows[rows["detector"] != "gradnorm"].sort_values("fpr95", kind="stable")
    return None if bare.empty else bare.iloc[0]


def findings(ablation: Ablation) -> list[Finding]:
    """What helps and what hurts, the most important first; what could not run is left out."""
    if ablation.outdated:
        return []
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
    """Whether OOD images' gradients change direction more than ID images', as the paper assumes."""
    rows = [row for row in ablation.facts.consistency if row.where == where]
    ood_rows = [row for row in rows if row.set != "id"]
    if not ood_rows:
        return None
    if all(row.linear for row in ablation.facts.layers):
        return Finding(
            Influence.SAME,
            "Everything after the layer is linear, so no gradient ever changes its direction: the "
            "paper's premise cannot be tested on this model.",
        )
    sure = [row for row in ood_rows if row.difference_low > 0 or row.difference_high < 0]
    as_published = [row.set for row in sure if row.difference >= LEAST_DIFFERENCE]
    reverse = [row.set for row in sure if row.difference <= -LEAST_DIFFERENCE]
    id_row = next(row for row in rows if row.set == "id")
    least, most = (f(row.mean for row in ood_rows) for f in (min, max))
    ood_shares = f"{least:.3f}" if f"{least:.3f}" == f"{most:.3f}" else f"{least:.3f} to {most:.3f}"
    numbers = (
        f"mean cosine {id_row.mean:.3f} for familiar images, {ood_shares} for unfamiliar images"
    )
    n = len(ood_rows)
    if len(as_published) == n:
        outcome, influence = "holds on this model", Influence.HELPS
    elif len(reverse) == n:
        outcome, influence = "is reversed on this model", Influence.HURTS
    elif as_published or reverse:
        outcome = f"holds for {len(as_published) or 'none'} of {n} sets"
        outcome += f" and is reversed for {len(reverse)}" if reverse else ""
        influence = Influence.SAME
    else:
        outcome, influence = "is not seen on this model", Influence.SAME
    return Finding(influence, f"The paper's premise {outcome}: {numbers}.")


def sentences(ablation: Ablation) -> list[str]:
    """All that is said of an ablation, the answer first."""
    every = [*findings(ablation), premise(ablation)]
    return [answer(ablation), *(f"- {finding.sentence}" for finding in every if finding)]


def document(ablation: Ablation) -> dict[str, Any]:
    """An ablation as one JSON document: the answer, the findings, the facts, every row."""
    return {
        "answer": answer(ablation),
        "findings": [
            {"verdict": str(finding.verdict), "sentence": finding.sentence}
            for finding in findings(ablation)
        ],
        "facts": ablation.facts.model_dump(mode="json"),
        "rows": json.loads(ablation.table.to_json(orient="records", double_precision=12)),
    }


def passing(row: pd.Series) -> str:
    """How many of 1,000 unfamiliar images a row accepts."""
    return f"{in_1000(float(row['fpr95']))} of 1,000"


def _published(ablation: Ablation) -> Iterator[Finding]:
    row = ablation.row(factor=PAPER, level=FULL_METHOD)
    bare = ablation.row(base=REFERENCE, detector="msp")
    difference = gain(row)
    if row is None or bare is None or difference is None:
        return
    counts_in_words = (
        f"{passing(row)} unfamiliar images are accepted, against {passing(bare)} by the softmax "
        "alone"
    )
    text = f"With the setting as summarised (top 20 % of the values): {counts_in_words}"
    yield Finding(difference.verdict, f"{text}, {difference.fewer()}.")


def _direction(ablation: Ablation) -> Iterator[Finding]:
    where = {"base": PUBLISHED.name, "factor": "direction", "depth": "deep"}
    learned = ablation.row(level="learned", **where)
    published = ablation.row(level="published", **where)
    difference = gain(published)
    if learned is None or published is None or difference is None:
        return
    if not published["backwards"]:
        yield Finding(
            Influence.SAME,
            "The direction as summarised is right here: surrogate images, too, lose more "
            "confidence than familiar images.",
        )
        return
    turning = difference.reversed()
    counts_in_words = (
        f"{passing(published)} unfamiliar images are accepted; flipped, {passing(learned)}, "
        f"{turning.fewer()}"
    )
    text = "The direction as summarised points the wrong way here"
    if turning.verdict is not Influence.HELPS:
        text = "Surrogate images suggest that the direction as summarised points the wrong way"
    yield Finding(turning.verdict, f"{text}: {counts_in_words}.")


def _share(ablation: Ablation) -> Iterator[Finding]:
    """The best and worst are picked afterwards; what is judged is the base against no cut."""
    rows = ablation.rows(base=BETTER.name, factor="share", depth="deep")
    uncut = rows[rows["share"] == 0]
    without = None if uncut.empty else gain(uncut.iloc[0])
    if without is None:
        return
    cutting = without.reversed()
    ordered = rows.sort_values("fpr95", kind="stable")
    best, worst = ordered.iloc[0], ordered.iloc[-1]
    yield Finding(
        cutting.verdict,
        f"How much to cut: best with {best['level']} of the channels cut ({passing(best)} "
        f"accepted), worst with {worst['level']} ({passing(worst)} accepted). Compared with no "
        f"cut, {percent(BETTER.settings['share'])}: {cutting.fewer()}.",
    )


def _layer(ablation: Ablation) -> Iterator[Finding]:
    deep = ablation.base(BETTER.name)
    shallow = ablation.row(base=BETTER.name, factor=LAYER, depth="shallow")
    difference = gain(shallow)
    if deep is None or shallow is None or difference is None:
        return
    by_influence = {
        Influence.HELPS: "The deep layer is the better one",
        Influence.HURTS: "The shallow layer is the better one",
        Influence.SAME: "Deep or shallow layer makes no clear difference",
    }
    yield _judged(
        difference.reversed(),
        by_influence,
        f"{passing(deep)} accepted at {deep['layer']}, {passing(shallow)} at {shallow['layer']}",
    )


def _update(ablation: Ablation) -> Iterator[Finding]:
    layers = {layer.name: layer for layer in ablation.facts.layers}
    where = {"base": BETTER.name, "factor": "update", "depth": "deep"}
    quick = ablation.row(level="first order", **where)
    exact = ablation.row(level="computed again", **where)
    difference = gain(exact)
    if quick is None or exact is None or difference is None:
        return
    if layers[quick["layer"]].linear:
        text = "The first-order estimate is exact: everything after the deep layer is linear."
        yield Finding(Influence.SAME, text)
        return
    by_influence = {
        Influence.HELPS: "accepts fewer unfamiliar images than",
        Influence.HURTS: "does worse than",
        Influence.SAME: "does as well as",
    }
    yield _judged(
        difference.reversed(),
        {
            key: f"The first-order estimate {t} computing the logits again"
            for key, t in by_influence.items()
        },
        f"{passing(quick)} accepted, {passing(exact)} computed again",
    )


def _ranking(ablation: Ablation) -> Iterator[Finding]:
    where = {"base": BETTER.name, "factor": "ranking", "depth": "deep"}
    best = ablation.row(level="attribution", **where)
    control = ablation.row(level="random", **where)
    difference = gain(control)
    if best is None or control is None or difference is None:
        return
    by_influence = {
        Influence.HELPS: "Choosing the channels by what the prediction relies on matters",
        Influence.HURTS: "Random channels do better than the chosen ones",
        Influence.SAME: "Random channels do as well as the chosen ones",
    }
    counts = f"{passing(best)} accepted by attribution, {passing(control)} at random"
    yield _judged(difference.reversed(), by_influence, counts)


def _judged(difference: Gain, by_influence: Mapping[Influence, str], counts: str) -> Finding:
    return Finding(
        difference.verdict, f"{by_influence[difference.verdict]}: {counts}, {difference.fewer()}."
    )


def _accuracy(ablation: Ablation) -> Iterator[Finding]:
    """What is left of the classifier where the cut feature is used for the answer as well."""
    whole = ablation.facts.id_accuracy
    better, published = ablation.base(BETTER.name), ablation.base(PUBLISHED.name)
    if whole is None or better is None or published is None:
        return
    counts = [round(1000 * float(row["id_accuracy_after"])) for row in (better, published)]
    yield Finding(
        Influence.SAME,
        f"Of 1,000 familiar images {round(1000 * whole):,} are classified correctly; after the "
        f"short-circuit {counts[0]:,} with {BETTER.title}, {counts[1]:,} with "
        f"{PUBLISHED.title}.",
    )
