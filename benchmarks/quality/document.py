"""The Markdown document of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from benchmarks.quality.overall import ENERGY, Line, overall, parts
from benchmarks.quality.table import (
    OURS,
    Estimate,
    Key,
    Loss,
    best_single,
    estimates,
    losses,
    ratio,
)
from gsc_core.evaluation.intervals import MEAN

JUDGED = ("gsc-auto", "auto-ensemble")
_WEIGHTS = "the parts of auto-ensemble, half the correlation and the kinds of surrogates"
_READINGS = "ReAct's percentile and gsc-auto's readings"
LOOKED_AT = {
    "lite0": f"{_READINGS}; {_WEIGHTS}",
    "lite1": f"{_READINGS}; half the correlation",
    "cifar": _WEIGHTS,
    "demo": f"{_READINGS}; {_WEIGHTS}",
}
"""What was settled while looking at a subject's OOD images; a subject not here is held out."""

_NAMED = 6  # detectors that beat ours, on one set
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")

NOTES = """\
- FPR95: share of OOD images accepted at the threshold that accepts 95 % of the ID images of the
  test half (ID is the positive class: the convention of GSC, ODIN, ReAct). Lower is better. *Other
  FPR95* is the convention of pytorch-ood and OpenOOD: share of ID images flagged when 95 % of the
  OOD images are caught. The two cannot be compared.
- Figures are percent: mean ± half of Student's 95 % interval over the calibration splits. A split
  divides the ID images at random into halves, one to fit on and one to test on; the OOD images
  are the same in all. So the interval tells how much the division matters, not how much other
  images would, and the splits share images: it is a narrow one.
- Every image is decoded and passes the network once; all detectors read that pass. Extra passes
  are forward-pass equivalents beyond it.
- Rows of pytorch-ood use that library's defaults, through its own methods: on the shared logits
  (MaxSoftmax … TemperatureScaling), on the pooled features before the last layer (ReAct, VRA, ASH,
  SCALE, LTS, DICE, KNN, NNGuide, ViM, fDBD, NCI, pNML, Mahalanobis, RMD, SHE, GMM), on the feature
  map at the split (RankFeat; Gram, with that one layer), or on the torch module and the images
  (ODIN, GradNorm). DICE and ViM have no default for p and d: the papers' values are used.
- The best single baseline is neither GSC nor an ensemble, ours or pytorch-ood's; it is named by its
  figure on the OOD images themselves, so nobody could have known it beforehand.
- Within a run nothing else is chosen on OOD images: surrogate outliers are made anew in each split,
  from its calibration half alone. The methods themselves were not found blindly, though: each
  subject says below what was settled while looking at its OOD images. Figures of that are not of
  images that had no say.
- The ImageNet photos may be among those that the networks were trained on: no detector was fitted
  on the photos it is tested on, but the networks may know them better than a new photo."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    frame: a row for each detector, split and OOD set (see `table`). after, accuracy: ID accuracy
    with and without the short-circuit, one a split. correlations: over which detectors, how many,
    and the rank correlations, one a split. absent: why a detector has no row. left_out: as `frame`,
    of auto-ensemble without one of its parts.
    """

    name: str
    title: str
    split: str | None
    pictures: Mapping[str, int]
    frame: pd.DataFrame
    passes: Mapping[Key, float]
    accuracy: Estimate
    after: Mapping[Key, Estimate] = field(default_factory=dict)
    correlations: Sequence[tuple[str, int, Estimate]] = ()
    absent: Mapping[Key, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    left_out: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def ood_sets(self) -> list[str]:
        """Names of the OOD sets, in their order, and of their mean where there are several."""
        names = [name for name in self.pictures if name != "id"]
        return [*names, MEAN] if len(names) > 1 else names


def escaped(text: str) -> str:
    """Text as it is, in a cell of a Markdown table."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def percent(estimate: Estimate | None) -> str:
    """`23.4 ± 1.2`, in percent."""
    if estimate is None:
        return "—"
    half = "" if estimate.half is None else f" ± {100 * estimate.half:.1f}"
    return f"{100 * estimate.value:.1f}{half}"


def document(found: Sequence[Measured], about: Mapping[str, str]) -> str:
    """The whole document; `about` is what was run, where and when."""
    head = ["# Detection quality: GSC and its peers", _bullets(about)]
    sections = [*head, "## How to read it", NOTES, *_of_all(found), "## Where GSC loses"]
    sections += [f"### {escaped(each.title)}\n\n{where_gsc_loses(each)}" for each in found]
    for each in found:
        sections += [f"## {escaped(each.title)}", _facts(each), _against(each), _table(each)]
        if each.absent:
            lines = {f"{name} ({whose})": why for (name, whose), why in each.absent.items()}
            sections += ["Left out:", _bullets(lines)]
    return "\n\n".join(sections) + "\n"


def _of_all(found: Sequence[Measured]) -> list[str]:
    """The mean over subjects, and what each part of the fusion brings to it."""
    lines = overall([each.frame for each in found], ("layers", *JUDGED))
    sections = ["## All subjects", "FPR95 / AUROC.", _lines(found, lines)]
    by_part = parts([each.left_out for each in found])
    if by_part:
        whole = [line for line in lines if line.name == "auto-ensemble"]
        sections += [
            "auto-ensemble with one part left out, or with the same weight for all:",
            _lines(found, [*whole, *by_part]),
        ]
    return sections


def _lines(found: Sequence[Measured], lines: Sequence[Line]) -> str:
    """A row for each line; the ratios are those of the mean FPR95 to the first two lines."""
    head = ["", *(escaped(each.title) for each in found), "mean", "× first", "× second"]
    rows = []
    for line in lines:
        cells = [*zip(line.fpr95, line.auroc, strict=True), line.means]
        times = (ratio(line.means[0], other.means[0]) for other in lines[:2])
        row = [line.name, *(f"{100 * fpr95:.1f} / {100 * auroc:.1f}" for fpr95, auroc in cells)]
        rows.append([*row, *("—" if each is None else f"{each:.2f}" for each in times)])
    return _markdown(head, rows)


def where_gsc_loses(found: Measured) -> str:
    """Plain sentences, one for each set: who beats our detectors, by how many points."""
    judged = [name for name in JUDGED if name in set(found.frame["detector"])]
    if not judged:
        return f"Neither of {' and '.join(JUDGED)} was among the detectors."
    lines = []
    for name in judged:
        beaten = [e for e in losses(found.frame, name) if e.ood_set in found.ood_sets]
        if not beaten:
            lines.append(f"- **{name}**: nothing has a lower FPR95 on any set.")
        for ood_set in dict.fromkeys(each.ood_set for each in beaten):
            of_set = [each for each in beaten if each.ood_set == ood_set]
            lines.append(f"- **{name}**, {_place(ood_set)}: {_losing(of_set)}")
    return "\n".join(lines)


def _losing(of_set: Sequence[Loss]) -> str:
    clear = [each for each in of_set if each.apart]
    close = [each for each in of_set if not each.apart]
    sentences = []
    if clear:
        sentences.append(f"clearly worse than {_list(clear)}.")
    if close:
        sentences.append(f"worse, but within the spread of the splits, than {_list(close)}.")
    return " ".join(sentences)


def _list(found: Sequence[Loss]) -> str:
    named = [
        f"{escaped(each.detector)} ({each.whose}) by {percent(each.points)} points"
        for each in found[:_NAMED]
    ]
    more = len(found) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _place(ood_set: str) -> str:
    return "mean of all sets" if ood_set == MEAN else f"on {escaped(ood_set)}"


def _facts(found: Measured) -> str:
    ood = (f"{n} {escaped(name)}" for name, n in found.pictures.items() if name != "id")
    lines = {
        "Settled while looking at it": LOOKED_AT.get(found.name, "nothing"),
        "Images": f"{found.pictures['id']} ID, halved; OOD {', '.join(ood)}",
        "Cut at": found.split or "nowhere",
        "ID accuracy": f"{percent(found.accuracy)} %",
    }
    for over, number, estimate in found.correlations:
        half = "" if estimate.half is None else f" ± {estimate.half:.2f}"
        lines[f"Rank correlation of surrogate and real AUROC over {number} {over}"] = (
            f"{estimate.value:.2f}{half}"
        )
    if found.seconds:
        lines["Time"] = ", ".join(f"{what} {s:.0f} s" for what, s in found.seconds.items())
    return _bullets(lines)


def _against(found: Measured) -> str:
    """Our recommended detectors as multiples of energy and of the best single baseline."""
    all_of = estimates(found.frame, "fpr95")
    judged = [name for name in JUDGED if (name, OURS) in all_of]
    head = ["FPR95", "energy", "best single baseline"]
    for name in judged:
        head += [name, "× energy", "× best"]
    rows = []
    for ood_set in found.ood_sets:
        (best, whose), lowest = best_single(found.frame, ood_set)
        energy = all_of[ENERGY][ood_set] if ENERGY in all_of else None
        row = [escaped(ood_set), percent(energy), f"{escaped(best)} ({whose}) {percent(lowest)}"]
        for name in judged:
            ours = all_of[name, OURS][ood_set]
            times = [None if o is None else ratio(ours.value, o.value) for o in (energy, lowest)]
            row += [percent(ours), *("—" if each is None else f"{each:.2f}" for each in times)]
        rows.append(row)
    return _markdown(head, rows)


def _table(found: Measured) -> str:
    """Every detector, the lowest mean FPR95 first."""
    fpr95, auroc = estimates(found.frame, "fpr95"), estimates(found.frame, "auroc")
    other = estimates(found.frame, "fpr95_ood_positive")
    sets = found.ood_sets
    head = ["detector", "whose", *(f"FPR95 {escaped(name)}" for name in sets)]
    head += ["AUROC mean", "other FPR95 mean", "ID accuracy after", "extra passes"]
    rows = [
        [
            escaped(key[0]),
            key[1],
            *(percent(fpr95[key].get(name)) for name in sets),
            percent(auroc[key].get(MEAN)),
            percent(other[key].get(MEAN)),
            percent(found.after.get(key)),
            f"{found.passes.get(key, 0):g}",
        ]
        for key in sorted(fpr95, key=lambda key: (fpr95[key][MEAN].value, key))
    ]
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    line = ["---"] * 2 + ["---:"] * (len(head) - 2)
    return "\n".join("| " + " | ".join(each) + " |" for each in (head, line, *rows))


def _bullets(lines: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())
