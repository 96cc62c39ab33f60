"""Fitted detectors over one pass of the network: pixels in, scores out.

The same class scores locally and, later, as an actor on other machines: it holds no files and no
progress, only numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from gsc_core.classifier import Preprocessing
from gsc_core.classifier.network import Network
from gsc_core.detectors.base import Calibration, Detector, Excused, Need, Representation
from gsc_core.detectors.ensemble import Ensemble, SurrogateScores, with_parts
from gsc_core.log import LOGGER
from gsc_core.scoring.faults import checked, in_words, is_fault, unstopped
from gsc_core.scoring.onepass import represent
from gsc_core.stopwatch import Stopwatch

T = TypeVar("T")

NOT_A_NUMBER = "gave a score that is not a number on some images"


@dataclass(frozen=True)
class Scores:
    """Scores of one batch, on the CPU: predicted class, its softmax, outlier scores by detector.

    `predicted_after` holds, by detector, the class after the short-circuit. All are `[B]`.
    """

    predicted: Tensor
    confidence: Tensor
    outlier: dict[str, Tensor]
    predicted_after: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def cat(cls, parts: Sequence[Scores]) -> Scores:
        """Scores of consecutive batches; a detector excused on the way is dropped."""
        if not parts:
            return cls(torch.empty(0, dtype=torch.long), torch.empty(0), {})
        return cls(
            torch.cat([part.predicted for part in parts]),
            torch.cat([part.confidence for part in parts]),
            _cat_columns([part.outlier for part in parts]),
            _cat_columns([part.predicted_after for part in parts]),
        )


def _cat_columns(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


class Scorer:
    """Detectors over one network.

    Attributes:
        detectors: those still in, and the parts of ensembles before these; `excused` has the reason
            of each that was left out.
        also: what of the one pass is wanted beside what the detectors read.
        pieces: into how many parts each batch is cut, since memory ran out.
    """

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        detectors: Sequence[Detector],
        watch: Stopwatch | None = None,
        also: Need = Need.LOGITS,
    ) -> None:
        self.network = network
        self.preprocessing = preprocessing
        self.detectors = with_parts(detectors)
        self.excused: dict[str, str] = {}
        self.watch = watch or Stopwatch()
        self.also = also
        self.pieces = 1

    @property
    def needs(self) -> Need:
        """The union of what the detectors read, and what is wanted beside that."""
        needs = self.also | Need.LOGITS
        for detector in self.detectors:
            needs |= detector.needs
        return needs

    def represent(self, pixels: Tensor) -> Representation:
        """One pass over `pixels [B,3,H,W]` uint8; out of memory halves the batch and goes on."""
        return Representation.cat(
            self._in_pieces(len(pixels), lambda piece: self.represent_whole(pixels[piece]))
        )

    def represent_whole(self, pixels: Tensor) -> Representation:
        """One pass over `pixels [B,3,H,W]` uint8 at once; raises where memory runs out."""
        with self.watch.phase("normalising"):
            on_device = pixels.to(self.network.device, non_blocking=True)
            images = self.preprocessing.normalise(on_device)
        return represent(self.network, images, self.needs, self.watch)

    def fit(self, detectors: Sequence[Detector], calibration: Calibration) -> None:
        """Fit some of the detectors; one that cannot run here is excused, the others go on."""
        for detector in detectors:
            with self.excusing(detector), self.watch.phase("fitting", detector.name):
                detector.fit(calibration)

    def learn(
        self,
        id_scores: Mapping[str, Tensor],
        surrogates: SurrogateScores | None,
        tuned_on: Tensor | None = None,
    ) -> None:
        """Let ensembles learn from their parts' scores of calibration images and surrogates.

        `tuned_on [N]` are the images that given settings were learned from.
        """
        for detector in self.ensembles:
            with self.excusing(detector):
                detector.join(d for d in self.detectors if not isinstance(d, Ensemble))
                detector.learn(id_scores, surrogates, tuned_on)

    def combine(self, outlier: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ensembles' scores `[N]` from those of their parts."""
        combined: dict[str, Tensor] = {}
        for detector in self.ensembles:
            with self.excusing(detector):
                combined[detector.name] = _combined(detector, outlier)
        return combined

    @property
    def ensembles(self) -> list[Ensemble]:
        """The detectors that combine others."""
        return [detector for detector in self.detectors if isinstance(detector, Ensemble)]

    @contextmanager
    def excusing(self, detector: Detector) -> Iterator[None]:
        """Leave a detector out for what it raises inside, with the reason; a fault is logged.

        What stops the whole work is raised: cancelling, and running out of memory.
        """
        with unstopped():
            try:
                yield
            except Excused as reason:
                self.excuse(detector.name, str(reason))
            except Exception as error:
                if not is_fault(error):
                    raise
                LOGGER.exception("%s is left out", detector.name)
                self.excuse(detector.name, in_words(error))

    def excuse(self, name: str, reason: str) -> None:
        """Leave a detector out from here on."""
        self.excused[name] = reason
        self.detectors = [d for d in self.detectors if d.name != name]

    def score(
        self,
        batch: Representation,
        detectors: Sequence[Detector] | None = None,
        *,
        after: bool = False,
    ) -> Scores:
        """Scores of a batch by all or some detectors.

        `after` adds the classes predicted after the short-circuit. A detector that fails, or whose
        score is not finite, is excused. Out of memory halves the batch, as in `represent`: some
        detectors go back to the network.
        """
        return Scores.cat(
            self._in_pieces(
                len(batch), lambda piece: self._score(batch[piece], detectors, after=after)
            )
        )

    def _in_pieces(self, images: int, do: Callable[[slice], T]) -> list[T]:
        """What `do` gives for each piece of a batch, in order."""
        while True:
            # rounded up, so that a larger piece comes first: what does not fit is soon known
            edges = [-(-images * piece // self.pieces) for piece in range(self.pieces + 1)]
            try:
                return [do(slice(*ends)) for ends in pairwise(edges) if ends[0] < ends[1]]
            except torch.OutOfMemoryError:
                if self.pieces >= images:
                    raise
            self.pieces *= 2

    def _score(
        self, batch: Representation, detectors: Sequence[Detector] | None, *, after: bool
    ) -> Scores:
        asked = list(self.detectors if detectors is None else detectors)
        there, classes = self._singly(batch, asked, after=after)
        confidence = batch.logits.softmax(dim=1).amax(dim=1)
        with self.watch.phase("scoring"):
            outlier, predicted_after = _on_cpu(there), _on_cpu(classes)
        for detector in asked:
            name = detector.name
            with self.excusing(detector), self.watch.phase("scoring", name):
                if isinstance(detector, Ensemble):
                    outlier[name] = _combined(detector, outlier)  # its parts come before it
                elif name in outlier and not _is_finite(outlier[name]):
                    del outlier[name]
                    predicted_after.pop(name, None)
                    raise Excused(NOT_A_NUMBER)
        return Scores(batch.predicted.cpu(), confidence.cpu(), outlier, predicted_after)

    def _singly(
        self, batch: Representation, detectors: Sequence[Detector], *, after: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Scores by all that combine no others, and classes after a short-circuit; on the device.

        Nothing is read here: a device that has to answer stands idle until Python asks again.
        """
        outlier: dict[str, Tensor] = {}
        predicted_after: dict[str, Tensor] = {}
        for detector in detectors:
            if isinstance(detector, Ensemble):
                continue
            with self.excusing(detector), self.watch.phase("scoring", detector.name):
                scores = checked(detector.score(batch), len(batch))
                if after and (logits := detector.logits_after(batch)) is not None:
                    predicted_after[detector.name] = _classes(logits, batch)
                outlier[detector.name] = scores
        return outlier, predicted_after


def _on_cpu(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The columns `[B]` on the CPU, in one transfer."""
    if not columns:
        return {}
    device = next((c.device for c in columns.values() if c.device.type != "cpu"), "cpu")
    together = torch.stack([column.to(device) for column in columns.values()])
    return dict(zip(columns, together.cpu(), strict=True))


def _combined(ensemble: Ensemble, outlier: Mapping[str, Tensor]) -> Tensor:
    """An ensemble's scores from those of its parts; raises Excused where one is missing."""
    for part in ensemble.parts_:
        if part.name not in outlier:
            raise Excused(f"has a part that was left out, {part.name}")
    parts = [outlier[part.name] for part in ensemble.parts_]
    scores = checked(ensemble.combine(outlier), len(parts[0])).cpu()
    if not _is_finite(scores):
        raise Excused(NOT_A_NUMBER)
    return scores


def _is_finite(scores: Tensor) -> bool:
    return bool(scores.isfinite().all())


def _classes(logits: Tensor, batch: Representation) -> Tensor:
    """The class of each image by the logits after a short-circuit."""
    if logits.shape != batch.logits.shape:
        raise ValueError(f"logits after the short-circuit have the shape {list(logits.shape)}")
    return logits.argmax(dim=1)
