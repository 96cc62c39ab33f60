"""What was noticed about the image sets beside each other: as a card, a line and a limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.set_checks import FamiliarLooking, LabelDoubts, NearCopies
from gsc_core.run.stored import Run
from gsc_core.run.subsets import Copies, DoubtedLabels, Subset
from gsc_core.run.subsets import FamiliarLooking as LookFamiliar

NOTHING = "The image sets: nothing stands out."
FAILED = "The image sets could not be compared, a fault of GSC Audit; the log has the details."


@dataclass(frozen=True)
class Notice:
    """One thing to look at.

    short: a few words with the count, for a line. sentence: what it is; so: what follows from it.
    images: how many there are; subset: those that are named, of many the first. mistaken: whether
    the images themselves should not be in the test, where they are what they seem.
    """

    short: str
    sentence: str
    so: str
    images: int
    subset: Subset
    mistaken: bool


def notices(run: Run) -> tuple[Notice, ...]:
    """What there is to look at, the gravest first; nothing for an earlier, unchecked run."""
    checks = run.document.set_checks
    if checks is None:
        return ()
    if run.revision is not None:
        checks = checks.without(run.revision.without)
    return (
        *map(_copies, checks.copies),
        *map(_familiar_looking, checks.familiar_looking),
        *_labels(checks.labels),
    )


def in_short(run: Run) -> str | None:
    """All of it as one line; None of an earlier run, which was not checked."""
    if run.document.set_checks is None:
        return None
    if run.document.set_checks.failed:
        return FAILED
    said = [notice.short for notice in notices(run)]
    return f"The image sets, worth a look: {'; '.join(said)}." if said else NOTHING


def limits(run: Run) -> tuple[str, ...]:
    """What it means for the figures, for a report; nothing where there is nothing to say."""
    checks = run.document.set_checks
    failed = [FAILED] if checks is not None and checks.failed else []
    return (*failed, *(notice.sentence for notice in notices(run)))


def _copies(copies: NearCopies) -> Notice:
    whose = "calibration images" if copies.of == CALIBRATION else "familiar test images"
    some = f"{copies.images:,} of {copies.tested:,}"
    if copies.looked_at < copies.near or not copies.whole:
        some = f"at least {some}"
    ours = "familiar test images" if copies.set == ID else f"images of {copies.set}"
    are = "is" if copies.images == 1 else "are"
    sentence = (
        f"{some[0].upper()}{some[1:]} {ours} {are} nearly the same as {whose}, for instance "
        "encoded again, rescaled or mirrored."
    )
    so = (
        "The detectors have practically seen them, so figures and thresholds look better than they "
        "are: keep images of one scene in one set."
        if copies.set == ID
        else "These are hardly unfamiliar: a detector that accepts them is right."
    )
    return Notice(
        short=f"{copies.images:,} near {'copy' if copies.images == 1 else 'copies'} of {whose} "
        f"among the {ours}",
        sentence=sentence,
        so=so,
        images=copies.images,
        subset=Copies(copies.set, copies.of),
        mistaken=True,
    )


def _familiar_looking(looking: FamiliarLooking) -> Notice:
    one = looking.images == 1
    return Notice(
        short=f"{looking.images:,} {'image' if one else 'images'} of {looking.set} "
        f"{'looks' if one else 'look'} familiar in every respect",
        sentence=f"{looking.images:,} of {looking.tested:,} images of {looking.set} "
        f"{'looks' if one else 'look'} familiar in every respect: to the classifier, by "
        f"{'its' if one else 'their'} features and to most detectors.",
        so="Perhaps they show what the model was made for, and the set holds them by mistake. "
        "Look at them, and mark those that do: the others are the misses that matter most.",
        images=looking.images,
        subset=LookFamiliar(looking.set),
        mistaken=False,
    )


def _labels(labels: LabelDoubts | None) -> Iterator[Notice]:
    if labels is None or not labels.images:
        return
    one = labels.images == 1
    yield Notice(
        short=f"{labels.images:,} {'label is' if one else 'labels are'} likely wrong",
        sentence=f"{labels.images:,} of {labels.labelled:,} labels "
        f"{'is' if one else 'are'} likely wrong: the classifier, its confidence corrected, gives "
        f"{'it' if one else 'them'} a chance of 1 in 100 at most, and another class as high a "
        "chance as images of that class usually get.",
        so="Either the label is wrong or the classifier is. Look at them: a wrong label counts as "
        "a mistake of the classifier.",
        images=labels.images,
        subset=DoubtedLabels(),
        mistaken=False,
    )
