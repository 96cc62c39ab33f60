"""Whether a classifier's confidence can be trusted, and what of the accepted images is wrong."""

from collections.abc import Sequence

import numpy as np

from gsc_core.evaluation.calibration import ConfidenceCalibration, Group
from gsc_core.evaluation.class_accuracy import ClassAccuracy
from gsc_core.evaluation.counts import between, in_1000, number_of, percent, summed
from gsc_core.evaluation.interval import Interval
from gsc_core.evaluation.reliability import Curve, Frontier
from gsc_core.evaluation.temperature import MOST
from gsc_core.run.confidence import Trust
from gsc_core.run.document import Temperature
from gsc_core.run.gallery import class_name
from gsc_core.run.ood_halves import FEWEST
from gsc_core.run.reliability import AcceptedErrors
from gsc_core.run.stored import Run

SPOKEN_OF = 0.9  # the confidence that the first sentence is about, fixed beforehand
MAX_NAMED = 5

UNLABELLED = (
    "The familiar images have no labels. With labels, this would say whether its confidence can be "
    "trusted, which classes are worst, and how many accepted images are answered wrongly."
)
GROUPS = (
    "Images are gathered in groups of neighbouring confidences, about as many in each, and a dot "
    "shows each group with its 95 % interval. On the dashed line, it is right as often as it says; "
    "below, it is too sure."
)
NO_FRONTIER = (
    "The calibration images have no labels, so no other way to refuse is compared: audit with "
    "labels for them."
)
NO_HALVES = (
    "Other ways to refuse are not compared: that takes two halves of each set of unfamiliar "
    f"images, one to choose by and one to test, and so at least {2 * FEWEST} images in each set "
    "that no other set has."
)
HALVES = (
    "The limits of each way were chosen on calibration images and on one half of the unfamiliar "
    "images; the curves show what they do on test images and on the other half."
)
PICKED = (
    "The worst of many classes looks worse than it is: each interval is of its class alone, as if "
    "nobody had looked for the worst."
)


def trust_sentences(trust: Trust) -> tuple[str, ...]:
    """What to hold of the confidence, the plainest first."""
    return (
        saying(trust.calibration),
        off_by(trust.calibration),
        temperature_sentence(trust.temperature),
    )


def saying(calibration: ConfidenceCalibration) -> str:
    """How often it is right when it says about 90 %."""
    group = min(calibration.groups, key=lambda one: abs(one.confidence - SPOKEN_OF))
    return (
        f"When the classifier says {_percent(group.confidence)}, it is right "
        f"{_percent(group.accuracy)} of the time ({_of(group)}, 95 % interval "
        f"{_range(group.low, group.high)})."
    )


def off_by(calibration: ConfidenceCalibration) -> str:
    """The mean confidence beside the accuracy, and the calibration error."""
    says, right = _percent(calibration.confidence), _percent(calibration.accuracy.value)
    verdict = {
        True: "it is too sure of itself",
        False: "it is right more often than it says",
        None: "the two agree" if says == right else "a difference that may be chance",
    }[calibration.overconfident]
    error = calibration.error
    return (
        f"On average it says {says} and is right {right} of the time: {verdict}. "
        "Over groups of images of about the same confidence, the two differ by "
        f"{100 * error.value:.1f} percentage points ({_range(error.low, error.high)}) on average "
        "(expected calibration error)."
    )


def temperature_sentence(temperature: Temperature | None) -> str:
    """What temperature scaling would bring, on images that it was not fitted on."""
    if temperature is None:
        return (
            "No temperature was fitted. That takes an audit by this version of GSC Audit, and "
            "labelled calibration images of which some are classified wrongly, but not so "
            f"confidently that even a temperature of {MOST:.0f} is too low."
        )
    scaled = (
        f"Dividing the logits by {temperature.value:.3g} before the softmax (temperature scaling, "
        f"fitted on {_images(temperature.fitted_on, 'calibration ')}) was tried on "
        f"{_images(temperature.tested, 'test ')}"
    )
    errors = [
        _percent(error.value) for error in (temperature.error_before, temperature.error_after)
    ]
    losses = [f"{loss:.3f}" for loss in (temperature.log_loss_before, temperature.log_loss_after)]
    figures = (
        f"{scaled}: the calibration error {_became(*errors)}, and the log loss {_became(*losses)}"
    )
    gain = temperature.gain
    if gain is None or gain.low <= 0 <= gain.high:
        alike = len({*errors}) == len({*losses}) == 1
        return f"{figures}." if alike else f"{figures}: a difference that may be chance."
    helps = "It helps, and" if gain.value > 0 else "It makes things worse, although"
    return f"{figures}. {helps} no predicted class changes."


def _became(before: str, after: str) -> str:
    """`is 5.0 % instead of 18.0 %`; where both are shown alike, `stays at 5.0 %`."""
    return f"stays at {after}" if before == after else f"is {after} instead of {before}"


def class_sentences(run: Run, trust: Trust) -> tuple[str, ...]:
    """Which classes are worse than the others, and which nobody tested."""
    sentences = [_worse(run, trust)]
    if trust.untested:
        one = trust.untested == 1
        sentences.append(
            f"{trust.untested:,} {'class has' if one else 'classes have'} no labelled test image: "
            f"nothing is said about {'it' if one else 'them'}."
        )
    return tuple(sentences)


def errors_sentence(errors: AcceptedErrors) -> str:
    """How many accepted images are wrong, from which cause."""
    wrong, mistakes, unfamiliar = summed(errors.mistakes, errors.unfamiliar)
    interval = between(errors.wrong.low, errors.wrong.high)
    return (
        f"Where {in_1000(errors.prevalence)} of 1,000 images are unfamiliar, {wrong} of 1,000 "
        f"accepted images are answered wrongly (95 % interval {interval}): {mistakes} are familiar "
        f"images that are classified wrongly, {unfamiliar} are unfamiliar."
    )


def ways_sentence(errors: AcceptedErrors, frontier: Frontier) -> str:
    """What each way to refuse does where as much is accepted as by the decision."""
    alone, detector, both = (
        in_1000(wrong_at(curve, errors.accepted))
        for curve in (frontier.confidence, frontier.detector, frontier.both)
    )
    return (
        f"If as many images are accepted ({in_1000(errors.accepted)} of 1,000), about {alone} of "
        f"1,000 of them are wrong when the confidence alone decides, {detector} when the detector "
        f"does, and {both} when an image has to pass both."
    )


def wrong_at(curve: Curve, accepted: float) -> float:
    """The share that is wrong where this share is accepted, between the points of a curve."""
    return float(np.interp(accepted, curve.accepted, curve.wrong))


def in_short(run: Run, trust: Trust) -> str:
    """One line for the command line: the calibration error, and the worst class."""
    error = f"Calibration error {in_percent(trust.calibration.error)}"
    if (temperature := trust.temperature) is not None:
        error += f", {in_percent(temperature.error_after)} at temperature {temperature.value:.3g}"
    worst = trust.classes[0]
    return f"{error}. Worst class: {_named(run, [worst])}."


def in_percent(interval: Interval) -> str:
    """`5.2 % (3.1 to 8.0)`, the ends with the value's decimals."""
    return f"{_percent(interval.value)} ({_range(interval.low, interval.high)})"


def _worse(run: Run, trust: Trust) -> str:
    total = len(trust.classes)
    if total == 1:
        return "Only one class has labelled test images."
    if not trust.worse:
        return (
            f"Of {total:,} classes, none is clearly worse than the others: which one comes out "
            "worst may be chance."
        )
    number, more = len(trust.worse), len(trust.worse) - MAX_NAMED
    rest = f" and {more:,} more" if more > 0 else ""
    verb = "is" if number == 1 else "are"
    return (
        f"Of {total:,} classes, {number:,} {verb} clearly worse than the others, with a correction "
        f"for looking at all of them (Holm): {_named(run, trust.worse[:MAX_NAMED])}{rest}."
    )


def _named(run: Run, classes: Sequence[ClassAccuracy]) -> str:
    return ", ".join(
        f"{class_name(run, one.index)} ({one.right:,} of {one.images:,} right)" for one in classes
    )


def _of(group: Group) -> str:
    return f"{group.right:,} of {_images(group.images)}"


def _images(number: int, which: str = "") -> str:
    return number_of(number, f"{which}image")


def _percent(share: float) -> str:
    return percent(share, 1)


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"
