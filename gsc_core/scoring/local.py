"""Score sets of images on this machine: streaming, chunk by chunk, from where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from gsc_core.images import ImageSet
from gsc_core.scoring.batch import (
    NOTHING,
    Beside,
    Scored,
    batch_in_chunks,
    chunk_of,
    chunks_in,
    class_indices_of,
    images_of_chunk,
    score_batch,
)
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore
from gsc_core.scoring.loading import DECODING, Pace, read_batches
from gsc_core.scoring.scorer import NOT_A_NUMBER, Scorer


def score_sets(
    scorer: Scorer,
    sets: Sequence[ImageSet],
    labels: Mapping[str, int],
    store: ChunkStore,
    pace: Pace,
    beside: Beside = NOTHING,
) -> None:
    """Score what of sets is not on disk yet, one after another; see `Engine`."""
    for images in sets:
        score_set(scorer, images, labels, store, pace, beside)


def score_set(
    scorer: Scorer,
    images: ImageSet,
    labels: Mapping[str, int],
    store: ChunkStore,
    pace: Pace,
    beside: Beside = NOTHING,
) -> None:
    """The same of one set."""
    size = batch_in_chunks(pace.batch_size)
    missing = store.missing(images.name, chunks_in(images))
    excuse_as_before(scorer, store, images.name)
    rest = [image for index in missing for image in images_of_chunk(images, index)]
    done, total, phase = len(images) - len(rest), len(images), f"scoring {images.name}"
    pace.step(phase, done, total)
    read = read_batches(rest, scorer.preprocessing, size, pace.threads, pace.decoders)
    batches = pace.watch.waiting(DECODING, read)
    for index in missing:
        parts: list[Scored] = []
        for batch in islice(batches, CHUNK_IMAGES // size):
            of_batch = class_indices_of(images.name, batch.images, labels)
            parts.append(score_batch(scorer, batch, of_batch, beside))
            done += len(batch.images) + len(batch.broken)
            pace.step(phase, done, total)
        with pace.watch.phase("writing"):
            store.write(images.name, index, chunk_of(images.name, parts, scorer.excused))


def excuse_as_before(scorer: Scorer, store: ChunkStore, set_name: str) -> None:
    """Leave out what failed on a finished chunk: a resumed run does not remember."""
    reasons = store.excused(set_name)
    for table, _ in store.tables(set_name):
        for detector in scorer.detectors:
            if table.num_rows and detector.name not in table.column_names:
                scorer.excuse(detector.name, reasons.get(detector.name, NOT_A_NUMBER))
