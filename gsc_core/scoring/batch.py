"""A batch of a set through a scorer, and batches as a chunk: what every engine does alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa
import torch

from gsc_core.images import Broken, ImageFile, ImageSet
from gsc_core.run.layout import ID
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore, Rows
from gsc_core.scoring.loading import Batch, Pace
from gsc_core.scoring.scorer import Scorer, Scores
from gsc_core.scoring.tempering import Tempered
from gsc_core.scoring.traces import Tracer, Traces


@dataclass(frozen=True)
class Beside:
    """What is recorded of each image beside its scores.

    temperature: what the logits of ID images are divided by, beside the usual confidence. tracer:
    makes what else is kept of each image.
    """

    temperature: float | None = None
    tracer: Tracer | None = None

    def on(self, device: torch.device | str) -> Beside:
        """The same for images on this device."""
        return self if self.tracer is None else replace(self, tracer=self.tracer.on(device))


NOTHING = Beside()


class Engine(Protocol):
    """Scores what of sets is not on disk yet, chunk by chunk, and leaves the chunks in `store`.

    `labels` gives the class index of an ID image by its digest; an OOD image has none.
    `beside` is what is recorded of each image beside its scores.
    Detectors that fail on the way are excused in `scorer`. Batches are the same whatever the
    engine, and so are the scores.
    """

    def __call__(
        self,
        scorer: Scorer,
        sets: Sequence[ImageSet],
        labels: Mapping[str, int],
        store: ChunkStore,
        pace: Pace,
        beside: Beside = NOTHING,
    ) -> None:
        """Score some sets."""


@dataclass(frozen=True)
class Scored:
    """A batch that was scored: its images with their class indices, and those that are broken."""

    images: tuple[ImageFile, ...]
    broken: tuple[Broken, ...]
    labels: tuple[int, ...]
    scores: Scores | None
    tempered: Tempered | None = None
    traces: Traces | None = None


def score_batch(
    scorer: Scorer,
    batch: Batch,
    labels: Sequence[int] | None,
    beside: Beside,
) -> Scored:
    """Score a batch of ID images, whose class indices are `labels`, or of OOD images (None)."""
    indices = [-1] * len(batch.images) if labels is None else labels
    if not batch.images:
        return Scored((), batch.broken, (), None)
    representation = scorer.represent(batch.pixels)
    scores = scorer.score(representation, after=labels is not None)
    tempered = None
    if labels is not None and beside.temperature is not None:
        tempered = Tempered.of(representation.logits, indices, beside.temperature)
    traces = None if beside.tracer is None else beside.tracer(representation, indices)
    return Scored(batch.images, batch.broken, tuple(indices), scores, tempered, traces)


def chunk_of(set_name: str, parts: Sequence[Scored], excused: Mapping[str, str]) -> pa.Table:
    """The table of consecutive batches of a set, as `ChunkStore` keeps it."""
    tempered = [part.tempered for part in parts if part.tempered is not None]
    traces = [part.traces for part in parts if part.traces is not None]
    rows = Rows(
        set_name,
        ID if set_name == ID else "ood",
        [image for part in parts for image in part.images],
        [label for part in parts for label in part.labels],
        Scores.cat([part.scores for part in parts if part.scores is not None]),
        Tempered.cat(tempered) if tempered else None,
        Traces.cat(traces) if traces else None,
    )
    return rows.table([one for part in parts for one in part.broken], excused)


def class_indices_of(
    set_name: str, images: Sequence[ImageFile], labels: Mapping[str, int]
) -> list[int] | None:
    """The class indices of ID images, −1 where unknown; None for other sets."""
    return [labels.get(image.sha256, -1) for image in images] if set_name == ID else None


def chunks_in(images: ImageSet) -> int:
    """How many chunks a set has."""
    return -(-len(images) // CHUNK_IMAGES)


def images_of_chunk(images: ImageSet, index: int) -> tuple[ImageFile, ...]:
    """The images of one chunk of a set."""
    return images.images[index * CHUNK_IMAGES : (index + 1) * CHUNK_IMAGES]


def batch_in_chunks(batch_size: int) -> int:
    """The largest batch, up to the wanted one, that fills a chunk without a rest."""
    sizes = range(min(batch_size, CHUNK_IMAGES), 0, -1)
    return next(size for size in sizes if CHUNK_IMAGES % size == 0)
