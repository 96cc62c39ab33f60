"""Whether labelled images are classified better when they are prepared in another usual way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor

from gsc_core.audit.checks.base import Evidence
from gsc_core.classifier.preparation import typed
from gsc_core.classifier.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from gsc_core.classifier.programs.first_norm import FirstNorm
from gsc_core.errors import ImageError
from gsc_core.images.decode import decode
from gsc_core.images.sources.address import BytesAt
from gsc_core.run.document import ModelCheck

MAX_IMAGES = 256  # labelled images that are looked at
MAX_WRONG = 48  # of them that are classified wrongly: only these can be won
LEVEL = 0.01  # of the test, over all ways together
LEAST_GAIN = 0.03  # of the accuracy: what is less is not worth a warning
_AT_A_TIME = 8
_SHORTER_SIDES = (256 / 224, 232 / 224)  # of the crop: tutorials and V1 weights; V2 weights


@dataclass(frozen=True)
class Way:
    """Another way to prepare images.

    `how` says what would be changed, `fix` what a person does to have it so.
    """

    how: str
    fix: str
    preprocessing: Preprocessing
    exchanged: bool = False

    def pixels(self, image: Tensor) -> Tensor:
        """uint8 `[3,H,W]` to uint8 `[C,h,w]`, with red and blue exchanged where that is meant."""
        return self.preprocessing.resize_crop(image.flip(0) if self.exchanged else image)


@dataclass
class Score:
    """How a way does against the one in use: images that it alone classifies correctly, or not."""

    way: Way
    won: int = 0
    lost: int = 0

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test, one-sided: how often a way that is no better wins so many."""
        return float(binom.sf(self.won - 1, self.won + self.lost, 0.5))


def alternatives(evidence: Evidence) -> ModelCheck | None:
    """Warns where another usual way classifies clearly more labelled calibration images correctly.

    Nothing is compared where the preprocessing is the library's own, and of what a person or a file
    states only whether red and blue are exchanged.
    """
    preprocessing = evidence.classifier.preprocessing
    ways = list(other_ways(preprocessing, FirstNorm.of(evidence.classifier.program) is None))
    if not ways:
        return None
    assumed = "The preprocessing was assumed" if preprocessing.source == "assumed" else ""
    sample = _sample(evidence)
    if not len(sample):
        unchecked = "without labels of these images, it cannot be compared with others"
        return _check("unchecked", f"{assumed}; {unchecked}.") if assumed else None
    best = best_of(ways, evidence, sample)
    if best is None:
        return _check(
            "fine",
            f"{assumed or 'The preprocessing was stated'}: no other usual way "
            f"({', '.join(way.how for way in ways)}) classifies clearly more of {len(sample):,} "
            "labelled calibration images correctly.",
        )
    return _check(
        "warning",
        f"{assumed or 'Images seem to be prepared differently from those of the training'}: with "
        f"{best.way.how}, {best.won:,} more of {len(sample):,} labelled calibration images are "
        f"classified correctly, and {best.lost:,} no longer are. If the model was trained that "
        f"way, {best.way.fix}.",
    )


def other_ways(now: Preprocessing, with_normalisation: bool = True) -> Iterator[Way]:
    """Ways that are compared with the one in use; normalisations where nothing else shows them."""
    if now.source == "library":
        return
    if now.source == "assumed":
        yield from (_set_to(how, other) for how, other in _sizes(now) if other != now)
        if with_normalisation:
            yield from (_set_to(how, other) for how, other in _levels(now) if other != now)
    if now.shape[0] == 3:
        yield Way(
            "red and blue swapped, as OpenCV reads images",
            "swap them in the model, with x[:, [2, 1, 0]] at the start of its forward, and "
            "export it again",
            now,
            exchanged=True,
        )


def _sizes(now: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    as_now = now.model_dump(include={"interpolation", "mean", "std", "crop", "source"})
    for share in _SHORTER_SIDES:
        side = round(min(now.crop) * share)
        yield f"the shorter side resized to {side}", Preprocessing(resize=side, **as_now)
    height, width = now.crop
    yield f"images stretched to {height}×{width}", Preprocessing(resize=now.crop, **as_now)


def _levels(now: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    channels = now.shape[0]
    for how, mean, std in (
        ("ImageNet's mean and standard deviation", IMAGENET_MEAN, IMAGENET_STD),
        ("mean and standard deviation 0.5", (0.5,) * 3, (0.5,) * 3),
        ("values from 0 to 1", (0.0,) * 3, (1.0,) * 3),
    ):
        if channels == 3:
            yield how, now.model_copy(update={"mean": mean, "std": std})
        elif len(set(mean)) == 1:
            yield how, now.model_copy(update={"mean": mean[:1], "std": std[:1]})


def _set_to(how: str, preprocessing: Preprocessing) -> Way:
    return Way(how, f"set the preprocessing to {typed(preprocessing)}", preprocessing)


def _sample(evidence: Evidence) -> Tensor:
    """Places of labelled images, which are in a random order: the first, until enough are wrong."""
    labelled = torch.nonzero(evidence.labels >= 0).flatten()[:MAX_IMAGES]
    wrong = evidence.logits.argmax(dim=1)[labelled] != evidence.labels[labelled]
    return labelled[wrong.cumsum(0) <= MAX_WRONG]


def best_of(ways: Sequence[Way], evidence: Evidence, sample: Tensor) -> Score | None:
    """The way that is clearly better and wins most; None where none is.

    First it is asked of the images that are classified wrongly now how many of them each way wins;
    only what could be clearly better by that is asked of the others, until it no longer can.
    """
    level = LEVEL / len(ways)
    right = evidence.logits.argmax(dim=1)[sample] == evidence.labels[sample]
    scores = [Score(way) for way in ways]
    for places in _portions(sample[~right]):
        for score, agreeing in zip(scores, _agreeing(scores, evidence, places), strict=True):
            score.won += agreeing
    scores = [score for score in scores if _is_clear(score, level, len(sample))]
    for places in _portions(sample[right]):
        for score, agreeing in zip(scores, _agreeing(scores, evidence, places), strict=True):
            score.lost += len(places) - agreeing
        scores = [score for score in scores if _is_clear(score, level, len(sample))]
    return max(scores, key=lambda score: score.won - score.lost, default=None)


def _portions(places: Tensor) -> tuple[Tensor, ...]:
    return torch.split(places, _AT_A_TIME) if len(places) else ()


def _is_clear(score: Score, level: float, images: int) -> bool:
    return score.p_value <= level and score.won - score.lost >= LEAST_GAIN * images


def _agreeing(scores: Sequence[Score], evidence: Evidence, places: Tensor) -> Iterator[int]:
    """Of each way, how many of these images it classifies correctly; each is decoded once."""
    prepared: list[list[Tensor]] = [[] for _ in scores]
    for place in places.tolist() if scores else ():
        image = _decoded(evidence.images[place].path)
        for score, batch in zip(scores, prepared, strict=True):
            batch.append(_prepared(score.way, image))
    for score, batch in zip(scores, prepared, strict=True):
        pixels = torch.stack(batch).to(evidence.network.device)
        with torch.no_grad():
            logits = evidence.network(score.way.preprocessing.normalise(pixels)).cpu()
        yield int((logits.argmax(dim=1) == evidence.labels[places]).sum())


def _decoded(path: BytesAt) -> Tensor:
    """An image; black where its file has gone since it was first read."""
    try:
        return decode(path)
    except ImageError:
        return torch.zeros(3, 8, 8, dtype=torch.uint8)


def _prepared(way: Way, image: Tensor) -> Tensor:
    """An image as a way prepares it; black where this way alone cannot, and so hardly won by it."""
    try:
        return way.pixels(image)
    except ImageError:
        return torch.zeros(way.preprocessing.shape, dtype=torch.uint8)


def _check(outcome: str, sentence: str) -> ModelCheck:
    return ModelCheck.model_validate(
        {"name": "preprocessing", "outcome": outcome, "sentence": sentence}
    )
