"""The part of a report on images that people marked: figures without them, and which they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gsc_core.report import model
from gsc_core.report.counted import by_set, counted, detector_rows
from gsc_core.run import decisions, gallery
from gsc_core.run.marks import Mark, by_row, revision_of
from gsc_core.run.revised import NothingLeftError, revised
from gsc_core.run.stored import Run
from gsc_core.sentences import marks as sentences
from gsc_core.sentences.run import two_counts

MAX_LISTED = 200  # images by name


def revised_part(run: Run, *, images: bool) -> model.Revised | None:
    """The figures by the marks of a run; None where they change none.

    `images` False leaves file names and notes out. Raises GscError for damaged marks or scores.
    """
    marks = by_row(run)
    revision = revision_of(marks)
    if not revision:
        return None
    try:
        view = revised(run, revision)
    except NothingLeftError:  # which the limits say
        return None
    decision = decisions.current(view)
    effect = decisions.effect_of(view, decision)
    made = marks.values()
    title = sentences.without(made)
    return model.Revised(
        title=title[0].upper() + title[1:],
        verdict=two_counts(effect),
        sentences=(
            f"{sentences.count_of(made)}.",
            sentences.both_figures(run, view, made),
            *sentences.cautions(made),
        ),
        left_out=len(revision.without),
        corrected=len(revision.labels),
        value=decision.value,
        familiar=counted("Familiar images", effect.id),
        strangers=tuple(counted(name, one) for name, one in effect.ood.items()),
        strangers_share=effect.ood_share,
        by_set=tuple(by_set(view, decision)),
        detectors=tuple(detector_rows(view)),
        accuracy=view.id_accuracy,
        images=tuple(_listed(run, marks, images=images)),
        images_more=max(0, len(marks) - MAX_LISTED),
    )


def _listed(run: Run, marks: Mapping[int, Mark], *, images: bool) -> Iterable[model.MarkedImage]:
    words = {"id": "Familiar images", "calibration": "Calibration images"}
    for mark in list(marks.values())[:MAX_LISTED]:
        yield model.MarkedImage(
            set=words.get(mark.set, mark.set),
            file=mark.file if images else None,
            doubt=None if mark.doubt is None else mark.doubt.value,
            label=None if mark.label is None else gallery.class_name(run, mark.label),
            note=mark.note if images else None,
            when=mark.when,
        )
