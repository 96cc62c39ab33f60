"""Score a set on a Ray cluster: the only file that knows Ray.

A set is cut into pieces of whole batches. Tasks read and decode a piece to uint8 at the crop's
size, actors that hold the fitted detectors once score it, and this process writes the chunks:
scores are small, and one writer needs no disk that all machines share. What is not written when
anything dies is scored again, as the same batches, so that scores are those of one machine.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from queue import Empty, Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import torch

from gsc_core.classifier import Preprocessing
from gsc_core.errors import SpecError
from gsc_core.extras import require
from gsc_core.images import Broken, ImageFile, ImageSet
from gsc_core.log import LOGGER
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
from gsc_core.scoring.decoder import fill, prepared
from gsc_core.scoring.decoders import Decoders
from gsc_core.scoring.loading import Batch, Pace
from gsc_core.scoring.local import excuse_as_before, score_sets
from gsc_core.scoring.scorer import Scorer

PIECE_BYTES = 24 * 2**20
"""Decoded pixels in one piece, at most: several of them wait in memory for each actor."""

_PIECES_OF_ACTOR = 8  # at least, so that no actor waits long for the last of another
_POLL_S, _TO_CONNECT_S, _TO_END_S = 0.5, 10, 60
_STORE_BYTES = 400 * 2**20  # of a cluster on this machine
_MOST_LOST, _SHARE_LOST = 16, 0.01  # pieces whose tasks died each time: scored here, if so few
_TRIES = 3
"""More, of a piece whose process dies: else Ray would try for ever. It says so by arguments that
Ray 2.60 calls deprecated and has no others for."""
_SHARE_OF_CPU = 0.5  # of an actor, and of a task that decodes, where both share the CPUs


@dataclass(frozen=True)
class Piece:
    """Some images of a chunk of a set: whole batches, with their class indices where ID."""

    set: str
    chunk: int
    part: int
    images: tuple[ImageFile, ...]
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class ScoredPiece:
    """What an actor gives back: the batches of a piece, and which detectors it has excused."""

    set: str
    chunk: int
    part: int
    batches: tuple[Scored, ...]
    excused: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """How pieces are scored: so many images at a time, and what is recorded beside."""

    batch_size: int
    beside: Beside


class RayEngine:
    """An `Engine` on the cluster at `address`, or on one that lives as long as this context.

    `make_scorer` gives an actor its fitted detectors: it travels to other machines, so it holds all
    that it needs. `workers` actors score, each with a GPU of its own where `on_gpu`.
    """

    def __init__(
        self,
        make_scorer: Callable[[], Callable[[], Scorer]],
        address: str | None = None,
        workers: int | None = None,
        on_gpu: bool | None = None,
    ) -> None:
        self._make_scorer = make_scorer
        self._address, self._workers, self._on_gpu = address, workers, on_gpu
        self._recipe: Any = None
        self._cpus = 1

    def __enter__(self) -> Self:
        """Connect. Raises MissingExtra without Ray, SpecError where there is no such cluster."""
        require("ray")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Else what still waits for a result once the cluster was left starts one of its own.
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
        import ray  # noqa: PLC0415 - comes with an extra

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if self._address is None:
                ray.init(
                    "local",
                    num_cpus=self._workers or len(os.sched_getaffinity(0)),
                    object_store_memory=_STORE_BYTES,
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    **quiet,
                )
            else:
                _knock(self._address)
                ray.init(self._address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise SpecError(
                f"There is no Ray cluster at {self._address or 'this machine'}: start one, or "
                "correct the address."
            ) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        self._on_gpu = bool(gpus) if self._on_gpu is None else self._on_gpu
        self._cpus = max(1, int(resources.get("CPU", 1)))
        self._workers = self._workers or gpus or self._cpus
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster, whose actors of this audit end; one that was started here ends."""
        import ray  # noqa: PLC0415

        ray.shutdown()

    def __call__(
        self,
        scorer: Scorer,
        sets: Sequence[ImageSet],
        labels: Mapping[str, int],
        store: ChunkStore,
        pace: Pace,
        beside: Beside = NOTHING,
    ) -> None:
        """Score what of sets is not on disk yet, all in one go; see `Engine`."""
        for images in sets:
            excuse_as_before(scorer, store, images.name)
        size = batch_in_chunks(pace.batch_size)
        room = self._room(sum(map(len, sets)), scorer.preprocessing, size)
        pieces = [piece for images in sets for piece in _pieces(images, store, labels, room)]
        left = _Left(sets, pieces, pace)
        if pieces:
            wanted, waiting = Wanted(size, beside.on("cpu")), _Waiting(pieces)
            results = self._scored(pieces, scorer.preprocessing, wanted)
            with pace.watch.phase("waiting for the cluster"), closing(results):
                for scored in results:
                    if scored is not None:
                        left.less(scored)
                        if (chunk := waiting.completed(scored)) is not None:
                            _write(store, chunk, scorer)
                    left.show()
        pinned = scorer.network.device.type == "cuda"
        # What did not come back may end whoever decodes it: here that is a process for it alone.
        with Decoders(most=1, pinned=pinned) if left.any else nullcontext() as alone:
            pace = replace(pace, decoders=alone or pace.decoders)
            score_sets(scorer, sets, labels, store, pace, beside)

    def _room(self, images: int, preprocessing: Preprocessing, size: int) -> int:
        """How many images are in a piece: whole batches, and several pieces for each actor."""
        assert self._workers is not None
        fits = PIECE_BYTES // math.prod(preprocessing.shape)
        shared = images // (_PIECES_OF_ACTOR * self._workers)
        return max(1, min(fits, shared) // size) * size

    def _scored(
        self, pieces: Sequence[Piece], preprocessing: Preprocessing, wanted: Wanted
    ) -> Generator[ScoredPiece | None]:
        """Pieces as they come back, in any order; None now and then while none does."""
        import ray  # noqa: PLC0415

        if self._recipe is None:
            self._recipe = ray.put(self._make_scorer())
        assert self._workers is not None
        share = 1.0 if self._on_gpu else _SHARE_OF_CPU
        lost = max(_MOST_LOST, int(_SHARE_LOST * len(pieces)))
        ray.data.DataContext.get_current().max_errored_blocks = lost
        rows = [pa.table({"piece": [pickle.dumps(piece)]}) for piece in pieces]
        decoded = ray.data.from_arrow(rows).map_batches(
            partial(_decode, preprocessing=preprocessing),
            batch_format="pyarrow",
            batch_size=1,
            # Of another size than the pool of actors: else Ray lets actors decode, and an image
            # that ends its process would end them.
            compute=ray.data.TaskPoolStrategy(size=self._workers + self._cpus),
            num_cpus=share,
            max_retries=_TRIES,
        )
        scored = decoded.map_batches(
            _Actor,
            fn_constructor_args=(self._recipe, wanted),
            batch_format="pyarrow",
            batch_size=1,  # a piece
            compute=ray.data.ActorPoolStrategy(
                size=min(self._workers, len(pieces)), max_tasks_in_flight_per_actor=2
            ),
            num_cpus=share,
            num_gpus=1 if self._on_gpu else 0,
            max_task_retries=_TRIES,
        )
        batches = scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            items = cast("Generator[pa.Table]", iter(batches))  # as Ray documents, to be closed
            with closing(_polled(items)) as tables:
                for table in tables:
                    if table is None:
                        yield None
                        continue
                    for cell in table["scored"]:
                        yield pickle.loads(cell.as_buffer())  # noqa: S301 - our own actors'
        except ray.exceptions.RayError as error:
            LOGGER.exception("the Ray cluster ended the work")
            raise SpecError(
                "The Ray cluster ended the work: look into the log, and run the audit again; it "
                "continues from what is finished."
            ) from error


def _knock(address: str) -> None:
    """Raise OSError where nobody answers at `host:port`: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        return  # "auto", or a server of Ray's own protocol
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_TO_CONNECT_S):
        pass


class _Actor:
    """The scorer of one actor, which it makes once."""

    def __init__(self, recipe: Any, wanted: Wanted) -> None:
        import ray  # noqa: PLC0415

        make: Callable[[], Scorer] = ray.get(recipe)
        self._scorer, self._size = make(), wanted.batch_size
        self._beside = wanted.beside.on(self._scorer.network.device)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Pieces with their pixels to their scores."""
        rows = zip(table["piece"], table["pixels"], table["reasons"], strict=True)
        scored = [self._piece(*(cell.as_buffer() for cell in row)) for row in rows]
        return pa.table({"scored": pa.array(scored, pa.large_binary())})

    def _piece(self, piece_data: pa.Buffer, data: pa.Buffer, reason_data: pa.Buffer) -> bytes:
        piece: Piece = pickle.loads(piece_data)  # noqa: S301 - the driver's
        reasons: list[str | None] = pickle.loads(reason_data)  # noqa: S301 - our own tasks'
        shape = (len(piece.images), *self._scorer.preprocessing.shape)
        pixels = torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
        size, scored = self._size, []
        for start in range(0, len(piece.images), size):
            part = slice(start, start + size)
            pairs = list(zip(piece.images[part], reasons[part], strict=True))
            good = [at for at, (_, reason) in enumerate(pairs) if reason is None]
            batch = Batch(
                images=tuple(pairs[at][0] for at in good),
                pixels=pixels[part][good],
                broken=tuple(Broken(image.name, why) for image, why in pairs if why is not None),
            )
            of_batch = None if piece.labels is None else [piece.labels[part][at] for at in good]
            scored.append(score_batch(self._scorer, batch, of_batch, self._beside))
        excused = dict(self._scorer.excused)
        return pickle.dumps(ScoredPiece(piece.set, piece.chunk, piece.part, tuple(scored), excused))


def _decode(table: pa.Table, preprocessing: Preprocessing) -> pa.Table:
    """Pieces to pieces with their pixels, uint8, and what is wrong with each image."""
    prepare = partial(prepared, preprocessing)
    every_pixels, every_reasons = [], []
    for cell in table["piece"]:
        piece: Piece = pickle.loads(cell.as_buffer())  # noqa: S301 - the driver's
        pixels = torch.zeros((len(piece.images), *preprocessing.shape), dtype=torch.uint8)
        reasons = [
            fill(row, image, prepare) for row, image in zip(pixels, piece.images, strict=True)
        ]
        every_pixels.append(pa.py_buffer(pixels.numpy()))
        every_reasons.append(pickle.dumps(reasons))
    return table.append_column("pixels", _binary(every_pixels)).append_column(
        "reasons", pa.array(every_reasons, pa.large_binary())
    )


def _binary(buffers: Sequence[pa.Buffer]) -> pa.Array:
    """Buffers as a column, of which one is not copied."""
    offsets = np.cumsum([0, *(buffer.size for buffer in buffers)], dtype=np.int64)
    data = buffers[0] if len(buffers) == 1 else pa.py_buffer(b"".join(map(bytes, buffers)))
    return pa.Array.from_buffers(
        pa.large_binary(), len(buffers), [None, pa.py_buffer(offsets), data]
    )


def _pieces(
    images: ImageSet, store: ChunkStore, labels: Mapping[str, int], room: int
) -> Iterator[Piece]:
    """The missing chunks of a set, cut into pieces of at most `room` images."""
    for chunk in store.missing(images.name, chunks_in(images)):
        of_chunk = images_of_chunk(images, chunk)
        edges = [*range(0, len(of_chunk), min(room, CHUNK_IMAGES)), len(of_chunk)]
        for part, (start, end) in enumerate(pairwise(edges)):
            some = of_chunk[start:end]
            of_some = class_indices_of(images.name, some, labels)
            yield Piece(images.name, chunk, part, some, None if of_some is None else tuple(of_some))


class _Waiting:
    """Pieces that came back, until their chunk is complete."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._parts = Counter((piece.set, piece.chunk) for piece in pieces)
        self._there: defaultdict[tuple[str, int], list[ScoredPiece]] = defaultdict(list)

    def completed(self, piece: ScoredPiece) -> list[ScoredPiece] | None:
        """The pieces of its chunk, in order, if this was the last."""
        key = piece.set, piece.chunk
        self._there[key].append(piece)
        if len(self._there[key]) < self._parts[key]:
            return None
        return sorted(self._there.pop(key), key=lambda one: one.part)


class _Left:
    """How many images of each set are still to come, told as progress of the first such set."""

    def __init__(self, sets: Sequence[ImageSet], pieces: Sequence[Piece], pace: Pace) -> None:
        self._totals = {images.name: len(images) for images in sets}
        self._left = Counter(dict.fromkeys(self._totals, 0))
        for piece in pieces:
            self._left[piece.set] += len(piece.images)
        self._step = pace.step
        self.show()

    def less(self, piece: ScoredPiece) -> None:
        """Count a piece that came back."""
        self._left[piece.set] -= sum(len(b.images) + len(b.broken) for b in piece.batches)

    @property
    def any(self) -> bool:
        """Whether some are still to come."""
        return any(self._left.values())

    def show(self) -> None:
        """Tell of the first set that is not done; this may raise, to stop."""
        first = next((name for name in self._totals if self._left[name]), None)
        if first is not None:
            done, total = self._totals[first] - self._left[first], self._totals[first]
            self._step(f"scoring {first}", done, total)


def _write(store: ChunkStore, pieces: Sequence[ScoredPiece], scorer: Scorer) -> None:
    """Write a chunk that is complete; what an actor has excused is out for all from here on."""
    for piece in pieces:
        for name, reason in piece.excused.items():
            if name not in scorer.excused:
                scorer.excuse(name, reason)
    batches = [batch for piece in pieces for batch in piece.batches]
    name, chunk = pieces[0].set, pieces[0].chunk
    store.write(name, chunk, chunk_of(name, batches, scorer.excused))


def _polled(items: Generator[pa.Table]) -> Generator[pa.Table | None]:
    """The same items, and None every half second without one, so that a person can stop it.

    When it is closed, so are the items, as soon as the next one is there: Ray ends a process that
    leaves the cluster while a thread of it still waits there.
    """
    arrived: Queue[pa.Table | BaseException | None] = Queue(maxsize=2)
    stopped = Event()

    def put(item: pa.Table | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(Full):
                arrived.put(item, timeout=_POLL_S)
                return

    def consume() -> None:
        try:
            with closing(items):
                for item in items:
                    put(item)
                    if stopped.is_set():
                        return
            put(None)
        except BaseException as error:  # it belongs to who waits for the items
            put(error)

    waiting = Thread(target=consume, daemon=True)
    waiting.start()
    try:
        while True:
            try:
                item = arrived.get(timeout=_POLL_S)
            except Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        waiting.join(_TO_END_S)
