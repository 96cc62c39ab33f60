"""What a run says, in sentences for a reader without training."""

from gsc_core.evaluation.counts import between, in_1000
from gsc_core.evaluation.intervals import MEAN
from gsc_core.run.document import Settings
from gsc_core.run.stored import Run


def subject(run: Run) -> str:
    """What was audited, as far as the run says."""
    settings = run.settings
    about = f"{settings.classifier}, {settings.classes} classes"
    about = about if settings.classifier else "a classifier"
    return f"Audit of {about}, run {run.id}"


def answer(run: Run) -> str:
    """The result as one sentence of counts in 1,000 images, for a reader without training."""
    best = run.best()
    fpr95 = best.value("fpr95")
    if fpr95 is None:
        return (
            "How many unfamiliar images would be accepted was not measured in this run: run the "
            "audit again."
        )
    return (
        f"With the best detector here, {best.detector}, {in_1000(fpr95)} of 1,000 unfamiliar "
        "images would be accepted at a threshold that accepts 950 of 1,000 familiar images."
    )


def rounded(settings: Settings) -> str:
    """What the precision of the network does to the figures; empty where it does nothing."""
    if settings.precision != "bf16":
        return ""
    return (
        "The network computed in bf16, which rounds more than usual: in float32, single scores "
        "differ by up to twice their standard deviation, and shares by several in 100."
    )


def assumption(run: Run) -> str | None:
    """The warning when nobody said how images are preprocessed; else None."""
    if run.settings.preprocessing.source != "assumed":
        return None
    return (
        f"How images are preprocessed for this classifier was assumed, {usual_for(run.settings)}: "
        "if that is wrong, so are all figures here. Correct it on the Models page."
    )


def usual_for(settings: Settings) -> str:
    """Whose usual preprocessing was assumed: the architecture's, else ImageNet's."""
    return f"as is usual for {settings.architecture or 'ImageNet'}"


def doubt(run: Run) -> str:
    """How sure the answer is and what it rests on: the interval, the hardest set, the images."""
    best = run.best()
    sets = [row for row in run.rows if row.detector == best.detector and row.ood_set != MEAN]
    text = (
        "Measured on one set of unfamiliar images"
        if len(sets) == 1
        else f"The mean of {len(sets)} sets"
    )
    if {"id", *run.ood_sets} <= run.images.keys():
        strangers = sum(run.images[name].scored for name in run.ood_sets)
        text += f", with {run.images['id'].scored:,} familiar and {strangers:,} unfamiliar images"
    if found := best.metric("fpr95"):
        text += (
            f"; for other images of the same kinds, expect {between(found.low, found.high)} (95 % "
            "interval)"
        )
    text += "."
    passed = {row.ood_set: share for row in sets if (share := row.value("fpr95")) is not None}
    if len(passed) > 1:
        hardest = max(passed, key=passed.__getitem__)
        text += f" Hardest: {hardest}, {in_1000(passed[hardest])} of 1,000 would be accepted."
    if best.detector in run.inverted:
        text += (
            " Every detector here points the wrong way on surrogate images: trust none of them yet."
        )
    return text
