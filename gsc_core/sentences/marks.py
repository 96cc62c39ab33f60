"""What is said where images of a run are marked: how many and why, and both figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from gsc_core.evaluation.counts import in_1000
from gsc_core.run import decisions
from gsc_core.run.marks import Doubt, Mark
from gsc_core.run.stored import Run

CAUTION = (
    "Whoever left images out had seen these results, which makes the figures better than they "
    "would be for new images. So both are shown, and release limits judge the audit as it ran."
)
RELABELLED = (
    "Corrected labels change what counts as classified correctly; detectors and temperature were "
    "fitted with the earlier labels."
)
FITTED = (
    "Calibration images that were left out no longer set the threshold, but the detectors have "
    "learned from them."
)


def count_of(marks: Collection[Mark]) -> str:
    """What the marks do: `5 images are left out (4 not unfamiliar, 1 unusable)`; no full stop."""
    parts = []
    if doubts := Counter(mark.doubt for mark in marks if mark.doubt is not None):
        why = ", ".join(f"{doubts[doubt]:,} {doubt}" for doubt in Doubt if doubts[doubt])
        total = doubts.total()
        are = "1 image is" if total == 1 else f"{total:,} images are"
        parts.append(f"{are} left out ({why})")
    labels = sum(mark.label is not None and mark.doubt is None for mark in marks)
    if labels:
        parts.append("1 label is corrected" if labels == 1 else f"{labels:,} labels are corrected")
    return ", and ".join(parts)


def without(marks: Collection[Mark]) -> str:
    """What figures by the marks are called: `without 5 marked images`."""
    left_out = sum(mark.doubt is not None for mark in marks)
    if not left_out:
        return "with corrected labels"
    return f"without {left_out:,} marked image{'' if left_out == 1 else 's'}"


def both_figures(run: Run, view: Run, marks: Collection[Mark]) -> str:
    """What the decision accepts as audited, and by the marks. `view` is the run without them.

    Raises GscError when the scores or a stored decision are missing or damaged.
    """
    audited, revised = (decisions.effect_of(one, decisions.current(one)) for one in (run, view))
    text = (
        f"As audited, {in_1000(audited.ood_share)} of 1,000 unfamiliar and "
        f"{in_1000(audited.id.share)} of 1,000 familiar images are accepted; {without(marks)}, "
        f"{in_1000(revised.ood_share)} and {in_1000(revised.id.share)}."
    )
    if run.id_accuracy is not None and view.id_accuracy is not None:
        before, after = (in_1000(one) for one in (run.id_accuracy, view.id_accuracy))
        if before != after:
            text += (
                f" Of 1,000 labelled familiar images, {before} are classified correctly as "
                f"audited, and {after} {without(marks)}."
            )
    return text


def cautions(marks: Collection[Mark]) -> tuple[str, ...]:
    """What is to be kept in mind about figures by these marks, one sentence or two each."""
    left_out = any(mark.doubt is not None for mark in marks)
    fitted = any(mark.doubt is not None and mark.set == "calibration" for mark in marks)
    relabelled = any(mark.label is not None and mark.doubt is None for mark in marks)
    said = ((CAUTION, left_out), (FITTED, fitted), (RELABELLED, relabelled))
    return tuple(sentence for sentence, holds in said if holds)
