"""What a run says, in sentences for a reader without training."""

from gsc_core.evaluation.counts import between, in_1000
from gsc_core.evaluation.selective import FEWEST
from gsc_core.evaluation.thresholds import Effect
from gsc_core.run import decisions
from gsc_core.run.document import Settings
from gsc_core.run.stored import Run


def subject(run: Run) -> str:
    """What was audited, as far as the run says."""
    settings = run.settings
    about = f"{settings.classifier}, {settings.classes} classes"
    about = about if settings.classifier else "a classifier"
    return f"Audit of {about}, run {run.id}"


def answer(run: Run) -> str:
    """The result as one sentence of counts in 1,000 images, for a reader without training.

    By the run's decision as it is now. Raises GscError when the scores or a stored decision are
    missing or damaged.
    """
    found = decisions.effect_of(run, decisions.current(run))
    return " ".join(filter(None, (two_counts(found), too_few(found))))


def two_counts(found: Effect) -> str:
    """What a decision does: how many unfamiliar and how many familiar images are accepted."""
    text = (
        f"{in_1000(found.ood_share)} of 1,000 unfamiliar images would be accepted, while "
        f"{in_1000(found.id.share)} of 1,000 familiar images are accepted."
    )
    return text[0].upper() + text[1:]


def too_few(found: Effect) -> str:
    """A further sentence where shares of so few images say next to nothing; else empty."""
    unfamiliar = sum(one.total for one in found.ood.values())
    if min(found.id.total, unfamiliar) >= FEWEST:
        return ""
    return (
        f"Too few to judge by: only {found.id.total:,} familiar and {unfamiliar:,} unfamiliar "
        "images were tested."
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
        f"The preprocessing for this classifier was assumed, {usual_for(run.settings)}: "
        "if that is wrong, so are all figures here. Correct it on the Models page."
    )


def usual_for(settings: Settings) -> str:
    """Whose usual preprocessing was assumed: the architecture's, else ImageNet's."""
    return f"as is usual for {settings.architecture or 'ImageNet'}"


def doubt(run: Run) -> str:
    """How sure the answer is and what it rests on: the images, intervals, the hardest set.

    Raises GscError as `answer` does.
    """
    decision = decisions.current(run)
    found = decisions.effect_of(run, decision)
    sets = found.ood
    text = (
        "Measured on one set of unfamiliar images"
        if len(sets) == 1
        else f"The mean of {len(sets)} sets"
    )
    unfamiliar = sum(one.total for one in sets.values())
    text += f", with {found.id.total:,} familiar and {unfamiliar:,} unfamiliar images"
    ood, familiar = found.ood_interval, found.id
    text += (
        f"; for other images of the same kinds, expect {between(ood.low, ood.high)} and "
        f"{between(familiar.low, familiar.high)} (95 % intervals)."
    )
    if len(sets) > 1:
        hardest = max(sets, key=lambda name: sets[name].share)
        text += f" Hardest: {hardest}, {in_1000(sets[hardest].share)} of 1,000 would be accepted."
    if decision.detector in run.inverted:
        text += f" {decision.detector} points the wrong way here: do not trust its alarm yet."
    return text
