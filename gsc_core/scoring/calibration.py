"""Fit the detectors on calibration images, each of which goes through the network once.

Feature maps and gradients of all images would not fit in memory. A bounded sample goes first and
is kept whole; detectors that read maps are fitted on it and score the rest as it streams by, the
others are fitted at the end on the logits and features of all images. These learn from single
images, so their scores of calibration images are made by fits without the image (`held_out`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gsc_core.classifier.guard import of_memory
from gsc_core.detectors.base import (
    Calibration,
    Detector,
    Fit,
    Need,
    Representation,
    Surrogates,
)
from gsc_core.detectors.ensemble import Ensemble, SurrogateScores
from gsc_core.errors import ImageError
from gsc_core.images import Broken, ImageFile, ImageSet
from gsc_core.images.surrogates import KINDS, SURROGATES, surrogate_makers
from gsc_core.log import LOGGER
from gsc_core.scoring.faults import stopping
from gsc_core.scoring.held_out import HeldOut, held_out_scores
from gsc_core.scoring.loading import DECODING, Pace, ahead, read_batches
from gsc_core.scoring.scorer import Scorer, Scores

R = TypeVar("R", bound=Representation)

_WHOLE = Need.FEATURE_MAP | Need.GRADIENT | Need.IMAGES
SAMPLE_IMAGES = 256
SAMPLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Calibrated:
    """What calibration leaves: the images that could be read, their scores, and the surrogates'.

    `surrogates` are the scores of surrogate outliers made from the first `sample` images: what an
    inverted detector can be told by without seeing an OOD image. `calibration` is what the
    detectors were fitted on, without pixels: large, so it is saved and released.
    `in_sample` names detectors whose scores here are of images they have learned from, because
    there are too few to leave some out: a threshold set on these promises too much. `temperature`
    is what an audit fitted to the logits before it released them.
    """

    images: tuple[ImageFile, ...]
    broken: tuple[Broken, ...]
    scores: Scores
    sample: int
    surrogates: Scores | None
    calibration: Calibration | None = None
    in_sample: tuple[str, ...] = ()
    temperature: float | None = None


def calibrate(
    scorer: Scorer,
    images: Sequence[ImageFile],
    labels: Sequence[int],
    *,
    seed: int,
    pace: Pace,
    check: Callable[[Sequence[ImageFile], Tensor], None] = lambda _images, _logits: None,
    tuned_on: Collection[str] = (),
) -> Calibrated:
    """Fit `scorer`'s detectors on `images` with class indices `labels` (−1 unknown).

    `tuned_on` are the digests of images that given weights were learned from: those among `images`
    get scores by weights learned without them, or a threshold would promise too much.

    `check` sees the images that could be read and their logits `[N,K]` as soon as all have gone
    through the network; what it raises ends the calibration.

    Raises ImageError when no calibration image could be read.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    size = _sample_size(scorer)
    passing = _Passing(scorer, images, labels, pace)
    sampled = list(passing.represented(order[:size]))
    if not sampled:
        raise ImageError("None of the calibration images can be read: check the folder.")
    sample, whole = Representation.cat(sampled), pace.batch_size
    surrogates, sources = _surrogates(scorer, tuple(passing.done), seed, pace)

    def calibration_on(representation: Representation) -> Calibration:
        return Calibration(
            scorer.network,
            representation.logits,
            representation.features,
            passing.class_indices,
            sample,
            surrogates,
            stopping(pace.step),
            layers=representation.layers,
            tuned_on=_among(passing.done, tuned_on, scorer.network.device),
            shapes=representation.shapes,
        )

    scorer.fit(_reading_maps(scorer), calibration_on(sample))
    everything, by_maps = _passed(scorer, passing, sample, order[size:], whole)
    check(passing.done, everything.logits)
    calibration = calibration_on(everything)
    pace.step("fitting the detectors", 0, 1)
    unseen = _held_out(scorer, calibration, sources, pace)
    scorer.fit(_not_reading_maps(scorer), calibration)
    late = _scored(scorer, everything, _not_reading_maps, whole)
    of_surrogates = None if surrogates is None else _scored(scorer, surrogates, _single, whole)
    held_out = {n: h for n, h in unseen.items() if h is not None and n in late.outlier}
    scores = _with(_beside(by_maps, late), held_out, "images")
    scores = _learned_without(scores, scorer)
    if of_surrogates is not None:
        of_surrogates = _with(of_surrogates, held_out, "surrogates")
    to_learn_from = _to_learn_from(of_surrogates, surrogates)
    scorer.learn(scores.outlier, to_learn_from, _among(passing.done, tuned_on))
    return Calibrated(
        images=tuple(passing.done),
        broken=tuple(passing.broken),
        scores=_learned_without(_combined(scores, scorer), scorer),
        sample=len(sample),
        surrogates=None if of_surrogates is None else _combined(of_surrogates, scorer),
        calibration=_to_keep(calibration, scorer),
        in_sample=_in_sample(scorer, unseen.keys() - held_out.keys()),
    )


def _passed(
    scorer: Scorer,
    passing: _Passing,
    sample: Representation,
    rest: Sequence[int],
    batch_size: int,
) -> tuple[Representation, Scores]:
    """The sample and the rest without what is large, and the scores of detectors that read that."""
    slim, streamed = [_slim(sample)], [_scored(scorer, sample, _reading_maps, batch_size)]
    for representation in passing.represented(rest):
        slim.append(_slim(representation))
        streamed.append(scorer.score(representation, _reading_maps(scorer)))
    return Representation.cat(slim), Scores.cat(streamed)


class _Passing:
    """Calibration images on their way through the network, in the order they are asked for.

    Attributes:
        done: those that could be read, in that order.
        broken: the others.
    """

    def __init__(
        self,
        scorer: Scorer,
        images: Sequence[ImageFile],
        labels: Sequence[int],
        pace: Pace,
    ) -> None:
        self.done: list[ImageFile] = []
        self.broken: list[Broken] = []
        self._scorer, self._images, self._pace = scorer, images, pace
        self._label_of = {image.name: label for image, label in zip(images, labels, strict=True)}

    def represented(self, indices: Sequence[int]) -> Iterator[Representation]:
        """One pass over these images, a batch at a time."""
        files = [self._images[i] for i in indices]
        preprocessing, pace = self._scorer.preprocessing, self._pace
        read = read_batches(files, preprocessing, pace.batch_size, pace.threads, pace.decoders)
        for batch in pace.watch.waiting(DECODING, read):
            self.broken.extend(batch.broken)
            self.done.extend(batch.images)
            if batch.images:
                yield self._scorer.represent(batch.pixels)
            pace.step("calibrating", len(self.done) + len(self.broken), len(self._images))

    @property
    def class_indices(self) -> Tensor:
        """The class index of each image that is done, −1 where unknown."""
        indices = [self._label_of[image.name] for image in self.done]
        return torch.tensor(indices, device=self._scorer.network.device)


def fit_again(
    scorer: Scorer, calibration: Calibration, scores: Mapping[str, Tensor] | None = None
) -> None:
    """Fit `scorer`'s detectors as `calibrate` did that left this calibration.

    `scores` are those it gave to the calibration images, by detector: ensembles learn from them.
    """
    of_sample = calibration.only(slice(len(calibration.sample)))
    scorer.fit(_reading_maps(scorer), of_sample)
    scorer.fit(_not_reading_maps(scorer), calibration)
    scorer.learn(scores or {}, None)


def _sample_size(scorer: Scorer) -> int:
    """How many calibration images may be kept whole: bounded in number and in bytes."""
    floats, split = 1, scorer.network.split
    if split is not None and scorer.needs & (Need.FEATURE_MAP | Need.GRADIENT):
        floats += 2 * torch.Size(split.shape).numel()
    if Need.IMAGES in scorer.needs:
        floats += math.prod(scorer.preprocessing.shape)
    # the surrogates take as much again
    return max(2, min(SAMPLE_IMAGES, SAMPLE_BYTES // (2 * 4 * floats)))


def _surrogates(
    scorer: Scorer, files: Sequence[ImageFile], seed: int, pace: Pace
) -> tuple[Surrogates | None, Tensor | None]:
    """One pass over surrogate outliers of the sample, as many as it has images.

    Also which of `files` each was made from.
    """
    if len(files) < 2:
        return None, None
    some = ImageSet("calibration", tuple(files[: max(2, len(files) // len(SURROGATES))]))
    at = {image.name: index for index, image in enumerate(some.images)}
    total = len(some) * len(SURROGATES)
    number = {kind.name: index for index, kind in enumerate(KINDS)}
    parts: list[Representation] = []
    sources: list[int] = []
    kinds: list[int] = []

    def made(maker: tuple[str, str, Callable[[], Tensor]]) -> tuple[str, str, Tensor] | None:
        name, kind, make = maker
        try:
            return name, kind, scorer.preprocessing.resize_crop(make())
        except (ImageError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ImageError) and not of_memory(error):
                raise
            LOGGER.warning("no surrogate (%s) is made of %s: %s", kind, name, error)
            return None

    makers = surrogate_makers(some, SURROGATES, seed)
    surrogates = filter(None, ahead(made, makers, pace.threads, depth=4 * pace.threads))
    waited_for = pace.watch.waiting("making surrogates", surrogates)
    while batch := list(islice(waited_for, pace.batch_size)):
        parts.append(scorer.represent(torch.stack([pixels for _, _, pixels in batch])))
        sources += [at[name] for name, _, _ in batch]
        kinds += [number[kind] for _, kind, _ in batch]
        pace.step("scoring surrogate outliers", len(sources), total)
    if not parts:
        return None, None
    made_of = torch.tensor(sources, device=scorer.network.device)
    return Surrogates.of(Representation.cat(parts), torch.tensor(kinds)), made_of


def _held_out(
    scorer: Scorer, calibration: Calibration, sources: Tensor | None, pace: Pace
) -> dict[str, HeldOut | None]:
    """For each detector that learns from single images, the scores by fits without the image.

    None where there are too few images to leave some out.
    """
    learning = [d for d in _not_reading_maps(scorer) if Fit.IMAGES in d.fitted_with]
    unseen: dict[str, HeldOut | None] = {}
    for detector in learning:
        with scorer.excusing(detector), pace.watch.phase("fitting held-out", detector.name):
            unseen[detector.name] = held_out_scores(detector, calibration, sources)
    return unseen


def _scored(
    scorer: Scorer,
    whole: Representation,
    by: Callable[[Scorer], list[Detector]],
    batch_size: int,
) -> Scores:
    """Scores by some detectors, a batch at a time: some go back to the network, with a graph."""
    slices = _slices(len(whole), batch_size)
    return Scores.cat([scorer.score(whole[some], by(scorer)) for some in slices])


def _in_sample(scorer: Scorer, learned_from: Collection[str]) -> tuple[str, ...]:
    """Detectors whose scores are of images they learned from, and the ensembles of such."""
    alone = [d.name for d in scorer.detectors if d.name in learned_from]
    of_such = [e.name for e in scorer.ensembles if any(p.name in alone for p in e.parts_)]
    return (*alone, *of_such)


def _to_keep(calibration: Calibration, scorer: Scorer) -> Calibration:
    """The calibration without pixels, and with what detectors learned from them."""
    surrogates = calibration.surrogates
    return replace(
        calibration,
        sample=_without_pixels(calibration.sample),
        surrogates=None if surrogates is None else _without_pixels(surrogates),
        learned=_learned_from_pixels(scorer),
    )


def _among(
    images: Sequence[ImageFile], digests: Collection[str], device: torch.device | str = "cpu"
) -> Tensor | None:
    """Which of the images `[N]` have these digests; None where none has."""
    among = [image.sha256 in digests for image in images]
    return torch.tensor(among, device=device) if any(among) else None


def _to_learn_from(scores: Scores | None, surrogates: Surrogates | None) -> SurrogateScores | None:
    if scores is None or surrogates is None:
        return None
    return SurrogateScores(scores.outlier, surrogates.kinds)


def _learned_from_pixels(scorer: Scorer) -> dict[str, Tensor]:
    """What detectors cannot learn again without the pixels, by their names."""
    learned = {detector.name: detector.learned_from_pixels() for detector in scorer.detectors}
    return {name: tensor for name, tensor in learned.items() if tensor is not None}


def _single(scorer: Scorer) -> list[Detector]:
    return [d for d in scorer.detectors if not isinstance(d, Ensemble)]


def _reading_maps(scorer: Scorer) -> list[Detector]:
    return [d for d in _single(scorer) if d.needs & _WHOLE]


def _not_reading_maps(scorer: Scorer) -> list[Detector]:
    return [d for d in _single(scorer) if not d.needs & _WHOLE]


def _slim(representation: Representation) -> Representation:
    return replace(representation, feature_map=None, gradient=None, images=None)


def _without_pixels(representation: R) -> R:
    return replace(representation, images=None, shapes=None)


def _slices(n: int, size: int) -> Iterable[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _with(scores: Scores, held_out: Mapping[str, HeldOut], of: str) -> Scores:
    """The scores, with those of a held-out fit in place of the ones in sample."""
    replacements = {name: getattr(held, of) for name, held in held_out.items()}
    better = {n: s for n, s in replacements.items() if s is not None and n in scores.outlier}
    return replace(scores, outlier=scores.outlier | better)


def _learned_without(scores: Scores, scorer: Scorer) -> Scores:
    """The scores, with those that a detector itself made of images it did not learn from."""
    outlier = dict(scores.outlier)
    for detector in scorer.detectors:
        made = detector.held_out_
        if made is not None and detector.name in outlier:
            rest = outlier[detector.name][len(made) :]
            outlier[detector.name] = torch.cat([made.to(rest), rest])
    return replace(scores, outlier=outlier)


def _combined(scores: Scores, scorer: Scorer) -> Scores:
    """The scores, with those of the ensembles beside their parts'."""
    return replace(scores, outlier=scores.outlier | scorer.combine(scores.outlier))


def _beside(a: Scores, b: Scores) -> Scores:
    return Scores(a.predicted, a.confidence, a.outlier | b.outlier)
