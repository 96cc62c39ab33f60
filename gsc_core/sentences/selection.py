"""How an audit's detectors tune themselves: what they chose and from what, in words and tables.

All figures are on surrogate images made of calibration images; no unfamiliar image was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from gsc_core.evaluation.counts import percent
from gsc_core.evaluation.selection import NOTHING, UNSURE, Selection, ShortCircuit, Tried
from gsc_core.run.document import FusedScore
from gsc_core.run.stored import Run

Measure = Literal["fpr95", "auroc"]
MAX_SHOWN = 10
_TUNED = "Settings come from a file written by gsc tune"
ALL = "all"


def choice_sentences(run: Run) -> list[str]:
    """One for each detector that chose; none for a run whose detectors chose nothing."""
    document, split = run.document, run.settings.split
    chosen = [
        sentence(name, each.chosen, each.nothing, split)
        for name, each in document.selections.items()
    ]
    partners = [partner_sentence(name, each) for name, each in document.partners.items() if each]
    fused = [fused_sentence(*each) for each in document.fusions.items()]
    return chosen + partners + fused + tuning_sentences(run)


def tuning_sentences(run: Run) -> list[str]:
    """Whether settings of a file were learned from images of this audit, and what follows."""
    same, all_ = run.document.tuned_on, run.document.images
    if same is None:
        return []
    if same == 0:
        return [f"{_TUNED} that was made from other images than the calibration images."]
    number = all_["calibration"].scored if "calibration" in all_ else same
    return [
        f"{_TUNED} that was made from {same:,} of these {number:,} calibration images: thresholds "
        "are set on scores by weights that were learned without the image."
    ]


def sentence(name: str, chosen: Tried, nothing: Tried, split: str | None) -> str:
    """What was chosen, and what it brings on surrogate images."""
    if chosen.short_circuit == NOTHING:
        return (
            f"{name} chose: {in_words(chosen, split)}; of 100 surrogate images "
            f"{_of_100(chosen.fpr95)} are accepted, and no cut did clearly better."
        )
    return (
        f"{name} chose: {in_words(chosen, split)}; of 100 surrogate images {_of_100(chosen.fpr95)} "
        f"are accepted, without the short-circuit {_of_100(nothing.fpr95)}."
    )


def partner_sentence(name: str, losses: Mapping[str, float]) -> str:
    """Which partner an ensemble took."""
    best = min(losses, key=losses.__getitem__)
    if len(losses) == 1:
        return f"{name} took {best} as its partner: no other could run here."
    return (
        f"{name} took {best} as its partner: of {len(losses)} detectors it is the one that, "
        "together with gsc-auto, best separates the same surrogate images from familiar images."
    )


def fused_sentence(name: str, fused: FusedScore) -> str:
    """How much each part counts, the most first, and which count nothing."""
    if not fused.learned:
        return (
            f"{name} gives its {len(fused.parts)} detectors the same weight: there are too few "
            "calibration images to learn weights from, or no detector separates surrogate images."
        )
    ranked = sorted(fused.parts, key=lambda part: -part.weight)
    counted = ", ".join(f"{part.detector} {percent(round(part.weight, 2))}" for part in ranked)
    said = f"{name} weighs its detectors by what surrogate images show: {counted}"
    if not fused.useless:
        return f"{said}."
    alone = len(fused.useless) == 1
    verb = "adds nothing to these and is" if alone else "add nothing to these and are"
    *some, last = fused.useless
    names = f"{', '.join(some)} and {last}" if some else last
    return f"{said}; {names} {verb} left out."


def in_words(tried: Tried, split: str | None) -> str:
    """Such as `2 % of the channels at layer4 by gradient, set to zero`."""
    cut = tried.short_circuit
    if cut == NOTHING:
        told = "no short-circuit"
    else:
        where = "the pooled feature" if cut.layer == "pooled" else split
        how = "set to zero" if cut.intervention == "zero" else "capped at a usual value"
        told = f"{percent(cut.share)} of the {_what(cut)} at {where} by {cut.ranking}, {how}"
    return f"{told}, strong features capped" if tried.capped else told


def table(selection: Selection, split: str | None, measure: Measure) -> pd.DataFrame:
    """The best that were tried, what was chosen and what cuts nothing among them; percent.

    Mistakes are what it is chosen by, as in `panel`. The figure on all surrogate images and on each
    kind of them stands last.
    """
    shown = list(selection.tried[:MAX_SHOWN])
    shown += [each for each in (selection.chosen, selection.nothing) if each not in shown]
    kinds = [kind for kind in selection.chosen.by_kind if all(kind in e.by_kind for e in shown)]
    rows = [
        {
            "Chosen": "✓" if each == selection.chosen else "",
            **_columns(each, split),
            "Mistakes": _mistakes(each.loss),
            ALL: 100 * getattr(each, measure),
            **{kind: 100 * getattr(each.by_kind[kind], measure) for kind in kinds},
        }
        for each in shown
    ]
    return pd.DataFrame(rows)


def panel(losses: Mapping[str, float]) -> pd.DataFrame:
    """The possible partners, the best first, with the mistakes of the two together, percent.

    Mistakes are the mean of FPR95 and 1 − AUROC, and of these the geometric mean over the kinds of
    surrogate images.
    """
    ranked = sorted(losses.items(), key=lambda pair: pair[1])
    return pd.DataFrame([{"Detector": name, "Mistakes": _mistakes(loss)} for name, loss in ranked])


def _mistakes(loss: float) -> float:
    """In percent, without what was added because 64 images cannot tell it from 0."""
    return 50 * (loss - UNSURE)


def _columns(tried: Tried, split: str | None) -> dict[str, str]:
    cut = tried.short_circuit
    features = {"Features": "capped" if tried.capped else "plain"}
    if cut == NOTHING:
        return {"Where": "no short-circuit", "What": "", "By": "", "How": "", **features}
    return {
        "Where": "pooled feature" if cut.layer == "pooled" else str(split),
        "What": f"{percent(cut.share)} of {_what(cut)}",
        "By": cut.ranking,
        "How": "zero" if cut.intervention == "zero" else "cut off",
        **features,
    }


def _what(cut: ShortCircuit) -> str:
    return "channels" if cut.granularity == "channel" else "values"


def _of_100(share: float) -> str:
    """A share as a count in 100; a rare event is not rounded to none, nor to all."""
    if 0 < share <= 0.005:
        return "fewer than 1"
    return "more than 99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
