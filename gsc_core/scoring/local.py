"""Score a set of images on this machine: streaming, chunk by chunk, from where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from gsc_core.images import Broken, ImageFile, ImageSet
from gsc_core.scoring.chunks import CHUNK_IMAGES, ChunkStore, Rows
from gsc_core.scoring.loading import DECODING, Pace, read_batches
from gsc_core.scoring.scorer import NOT_A_NUMBER, Scorer, Scores
from gsc_core.scoring.tempering import Tempered
from gsc_core.scoring.traces import Tracer, Traces


def score_set(
    scorer: Scorer,
    images: ImageSet,
    labels: Mapping[str, int],
    store: ChunkStore,
    pace: Pace,
    temperature: float | None = None,
    tracer: Tracer | None = None,
) -> None:
    """Score what of a set is not on disk yet.

    `labels` gives the class index of an ID image by its digest; an OOD image has none.
    `temperature` is what the logits of ID images are divided by, beside the usual confidence.
    `tracer` makes what else is kept of each image.
    """
    is_id = images.name == "id"
    size = _dividing(pace.batch_size)
    first = store.finished(images.name)
    _excuse_as_before(scorer, store, images.name)
    rest = images.images[first * CHUNK_IMAGES :]
    done, total, phase = len(images) - len(rest), len(images), f"scoring {images.name}"
    pace.step(phase, done, total)
    read = read_batches(rest, scorer.preprocessing, size, pace.threads, pace.decoders)
    batches = pace.watch.waiting(DECODING, read)
    for index in range(first, -(-total // CHUNK_IMAGES)):
        good: list[ImageFile] = []
        broken: list[Broken] = []
        scores: list[Scores] = []
        tempered: list[Tempered] = []
        traces: list[Traces] = []
        class_indices: list[int] = []
        for batch in islice(batches, CHUNK_IMAGES // size):
            broken.extend(batch.broken)
            if batch.images:
                good.extend(batch.images)
                indices = [labels.get(i.sha256, -1) if is_id else -1 for i in batch.images]
                class_indices += indices
                representation = scorer.represent(batch.pixels)
                scores.append(scorer.score(representation, after=is_id))
                if is_id and temperature is not None:
                    tempered.append(Tempered.of(representation.logits, indices, temperature))
                if tracer is not None:
                    traces.append(tracer(representation, indices))
            done += len(batch.images) + len(batch.broken)
            pace.step(phase, done, total)
        rows = Rows(
            images.name,
            "id" if is_id else "ood",
            good,
            class_indices,
            Scores.cat(scores),
            Tempered.cat(tempered) if tempered else None,
            Traces.cat(traces) if traces else None,
        )
        with pace.watch.phase("writing"):
            store.write(images.name, index, rows.table(broken, scorer.excused))


def _excuse_as_before(scorer: Scorer, store: ChunkStore, set_name: str) -> None:
    """Leave out what failed on a finished chunk: a resumed run does not remember."""
    reasons = store.excused(set_name)
    for table, _ in store.tables(set_name):
        for detector in scorer.detectors:
            if table.num_rows and detector.name not in table.column_names:
                scorer.excuse(detector.name, reasons.get(detector.name, NOT_A_NUMBER))


def _dividing(batch_size: int) -> int:
    """The largest batch, up to the wanted one, that fills a chunk without a rest."""
    sizes = range(min(batch_size, CHUNK_IMAGES), 0, -1)
    return next(size for size in sizes if CHUNK_IMAGES % size == 0)
