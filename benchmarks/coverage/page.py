"""The page of the documentation that says how often each interval holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.coverage.simulation import Cell

NAMES = {
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "fpr95_ood_positive": "FPR95, OOD positive",
    "aupr_in": "AUPR-in",
    "aupr_out": "AUPR-out",
    "detection_error": "Detection error",
}

HEAD = """# Intervals

Every figure of an audit has a 95 % interval, and this page says how often such an interval holds.
Samples are drawn from populations whose metrics are known: scores that are normal, skewed
(exponential) and mixed (some unfamiliar images score like familiar ones, the rest far above), the
last tied to 12 and to 6 levels; true AUROCs of 0.6, 0.9, 0.98 and 0.999; 20, 50, 100 and 500
images of each kind, 500 familiar with 20 unfamiliar ones and 2,000 with 100. Written by
`python -m benchmarks.coverage` ({repeats} samples a cell, a fifth of that for what was before); the
tests in `tests/evaluation/test_coverage.py` hold it.

An interval of 95 % is to cover at least 94 % here, and to lie wholly above or wholly below the
truth in at most 3.5 % of samples each. By chance some of so many cells show more than is true: of
400 samples one cell in ten shows 93.5 % or less where 95 % is. So where {repeats} show less than
95 %, or more than 3 % on one side, {again} others are drawn, and the tables have those. Intervals
may cover more where figures are discrete: of perfectly separated images none can be narrower than
what rules out one misplaced image among so many.

- **AUROC**: Gaffke's bound of a mean in 0..1 (2005; Phan, Thomas and Learned-Miller, 2021), of both
  kinds of images at once and in closed form: how far it lies off when images are weighed anew and
  an unseen one, mostly of the kind that has fewer, is at its worst place. It is the exact bound of
  a share (Clopper and Pearson, 1934) where images are separated perfectly. The mean of sets is put
  together with the correlation that the shared familiar images bring (Zou, 2007).
- **FPR95**, both: which rank the threshold has is binomial, whatever the scores; at each rank that
  it may have, the exact bounds of the share accepted. The chances of both are shared out so that
  an end misses in at most 2.5 % of samples of any scores, tied ones too: proven, not only seen. It
  costs some width where scores are not tied. Nothing is assumed, so with fewer than 88 images to
  set the threshold the upper bound is 100 %: 0.95^88 is 1 %, the threshold may lie above them all.
- **AUPR**, both, and **detection error**: a Bayesian bootstrap (Rubin, 1981) with an unseen image
  at its worst place, and the flattery of resampling taken off on a logit scale. The detection error
  is looked at over all thresholds that may be the best (Chernozhukov, Lee and Rosen, 2013).
- **Differences** of two detectors: the variance of what each image adds to the difference, with one
  unseen image on which they differ. Tests are corrected by Holm (1979); against the best on these
  images for all pairs, since it may be any of them.

Widths are means, in percentage points. Above and below: the whole interval is.
"""


def page(cells: Sequence[Cell], repeats: int) -> str:
    """The page, with a table of the worst cells of each method and one for each metric."""
    head = HEAD.format(repeats=f"{repeats:,}", again=f"{10 * repeats:,}")
    return "\n".join([head, *_worst(cells), *_by_size(cells)]) + "\n"


def _worst(cells: Sequence[Cell]) -> Iterator[str]:
    yield "## The worst of all cells"
    yield ""
    yield "| metric | method | covers at least | above, at most | below, at most | width |"
    yield "|---|---|---|---|---|---|"
    for metric, name in NAMES.items():
        for method in dict.fromkeys(cell.method for cell in cells if cell.metric == metric):
            found = [c.found for c in cells if (c.metric, c.method) == (metric, method)]
            figures = (
                min(one.held for one in found),
                max(one.above for one in found),
                max(one.below for one in found),
                float(np.mean([one.width for one in found])),
            )
            yield f"| {name} | {method} | {' | '.join(map(_percent, figures))} |"


def _by_size(cells: Sequence[Cell]) -> Iterator[str]:
    """Coverage and width of what was taken beside what was before, for normal scores."""
    for metric, name in NAMES.items():
        held = {
            (c.n, c.m, c.truth, c.method): c.found
            for c in cells
            if c.metric == metric and c.shape == "normal"
        }
        yield ""
        yield f"## {name}, normal scores"
        yield ""
        yield "| images | true AUROC | covers | width | before: covers | width |"
        yield "|---|---|---|---|---|---|"
        for n, m, truth in dict.fromkeys(key[:3] for key in held):
            both = [held[n, m, truth, method] for method in ("taken", "before")]
            figures = [figure for one in both for figure in (one.held, one.width)]
            yield f"| {n} / {m} | {truth} | {' | '.join(map(_percent, figures))} |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
