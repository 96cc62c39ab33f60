"""What an audit does not say: the sentences that come second in every report."""

from gsc_core.evaluation.counts import number_of
from gsc_core.evaluation.thresholds import Effect
from gsc_core.run.decisions import Decision
from gsc_core.run.marks import by_row
from gsc_core.run.revised import NothingLeftError, without_marked
from gsc_core.run.stored import Run
from gsc_core.sentences import set_checks
from gsc_core.sentences.decision import excused_sentence, picked_sentence
from gsc_core.sentences.detector_names import called
from gsc_core.sentences.marks import count_of
from gsc_core.sentences.run import assumption, rounded
from gsc_core.sentences.threshold import between, learned

MAX_NAMED = 8
NO_POLICY = (
    "No limits for a release were agreed beforehand, so this report says neither pass nor fail."
)
FEW = 100  # images, under which a set's share is known only roughly


def limits_of(run: Run, decision: Decision, found: Effect, *, gated: bool) -> tuple[str, ...]:
    """One sentence for each limit that holds for this run, the gravest first.

    `gated` is whether a release policy was agreed and judges the run.
    """
    sentences = (
        _backwards(run, decision),
        assumption(run),
        learned(decision, run),
        _strangers(run),
        _few(found),
        *set_checks.limits(run),
        rounded(run.settings),
        picked_sentence(run, decision),
        excused_sentence(run, decision),
        _left_out(run),
        _marked(run),
        _unlabelled(run),
        "" if gated else NO_POLICY,
    )
    return tuple(sentence for sentence in sentences if sentence)


def _backwards(run: Run, decision: Decision) -> str:
    if decision.detector not in run.inverted:
        return ""
    return (
        f"The detector {called(run, decision.detector)} points the wrong way: unfamiliar images, "
        "or surrogate images, score lower than familiar images, so its threshold may flag the "
        "wrong images."
    )


def _strangers(run: Run) -> str:
    named = ", ".join(run.ood_sets[:MAX_NAMED])
    more = len(run.ood_sets) - MAX_NAMED
    sets = len(run.ood_sets)
    were = (
        "1 kind of unfamiliar image was" if sets == 1 else f"{sets} kinds of unfamiliar images were"
    )
    return (
        f"Only {were} tried ({named}{f' and {more} more' if more > 0 else ''}): "
        "unfamiliar images of another kind may be accepted more often."
    )


def _few(found: Effect) -> str:
    sets = {"the familiar images": found.id, **found.ood}
    name = min(sets, key=lambda each: sets[each].total)
    smallest = sets[name]
    if smallest.total >= FEW:
        return ""
    return (
        f"The smallest set ({name}) had {number_of(smallest.total, 'test image')}, so its share "
        f"may lie anywhere from {between(smallest)} of 1,000."
    )


def _left_out(run: Run) -> str:
    broken = sum(images.broken for images in run.images.values())
    doubled = sum(images.duplicates for images in run.images.values())
    if not broken + doubled:
        return ""
    unread = f"{broken:,} that could not be read" if broken else ""
    again = number_of(doubled, "duplicate") if doubled else ""
    return f"Images left out: {' and '.join(filter(None, (unread, again)))}."


def _marked(run: Run) -> str:
    marks = by_row(run).values()
    if not (said := count_of(marks)):
        return ""
    try:
        without_marked(run)
    except NothingLeftError as reason:
        return str(reason)
    return (
        f"After the audit, images were marked: {said} in separate figures. All other figures are "
        "as audited, with every image."
    )


def _unlabelled(run: Run) -> str:
    if run.id_accuracy is not None:
        without = run.images["id"].without_class if "id" in run.images else 0
        if not without:
            return ""
        return (
            f"{number_of(without, 'familiar image')} had no class: the share that is classified "
            "correctly is of the others."
        )
    return (
        "The familiar images have no labels, so how many of them are classified correctly was not "
        "measured."
    )
