"""What decodes for an audit: threads or processes that fill bundles of images ahead of their use.

Threads of this process begin. Python lets them decode about a thousand images a second in all,
which is enough for small sets and for networks on a CPU. Where it is not, or where the images are
many, processes take over: one more each time the network had to wait, up to the number of cores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from torch import Tensor

from gsc_core.images.imageset import ImageFile
from gsc_core.scoring.decoder import Prepare, fill
from gsc_core.scoring.decoder_process import DecoderProcess, ForkServer

Reasons = list[str | None]
"""For each image of a bundle what is wrong with it, or None."""

PROCESSES_FROM = 2000
"""Images from which processes are started at once: the first costs 3 CPU seconds of imports."""

_MAX_WAIT_S = 1.0  # for which the network may have waited in all before processes are started
_MAX_DEATHS = 3  # one after another, with no image in hand: then it is not the images


class Stopped(Exception):  # noqa: N818 - not an error
    """The decoders were closed before this bundle was decoded."""


@dataclass(frozen=True)
class Bundle:
    """Some images, and the `rows [n,3,h,w]` of a batch into which their pixels go."""

    prepare: Prepare
    images: Sequence[ImageFile]
    rows: Tensor
    reasons: Future[Reasons] = field(default_factory=Future)

    def part(self, start: int, end: int) -> Bundle:
        """The images from `start` to before `end` as a bundle of their own."""
        return replace(self, images=self.images[start:end], rows=self.rows[start:end])


class Decoders:
    """The threads and processes that decode for one audit; a context that leaves none of them.

    `most` processes decode at the same time; None leaves the number to the cores and the pace of
    the network, 0 decodes on `threads` threads of this process alone. `images` is how many there
    will be, as far as is known. Batches are `pinned` in memory on their way to a CUDA device.
    Processes need Linux; elsewhere threads do all.
    """

    def __init__(
        self, threads: int = 2, most: int | None = None, images: int = 0, pinned: bool = False
    ) -> None:
        able = sys.platform == "linux" and bool(sys.executable)
        self._most = 0 if not able else len(os.sched_getaffinity(0)) if most is None else most
        self._threads = threads if most is None or not self._most else 0
        self._at_once = bool(self._most) and (most is not None or images >= PROCESSES_FROM)
        self.pinned = pinned
        self._bundles: SimpleQueue[Bundle | None] = SimpleQueue()
        self._workers: list[Thread] = []
        self._processes: list[DecoderProcess] = []
        self._server = ForkServer()
        self._waited_s = 0.0
        self._deaths = 0
        self._lock = Lock()
        self._taken_over = self._closing = False

    def __enter__(self) -> Decoders:
        for _ in range(self._threads):
            self._work(self._decode_here)
        if self._at_once:
            self._one_more()
        return self

    def __exit__(self, *ended_by: object) -> None:
        """End all at once: what is being decoded is wanted no more."""
        with self._lock:
            self._closing = True
        try:
            while bundle := self._bundles.get_nowait():
                bundle.reasons.cancel()
        except Empty:
            pass
        for process in self._processes:
            process.close()
        self._server.close()
        for _ in self._workers:
            self._bundles.put(None)
        for worker in self._workers:
            worker.join()

    @property
    def width(self) -> int:
        """How many processes decode now; 1 as long as threads do."""
        return len(self._processes) if self._taken_over else 1

    def submit(self, bundle: Bundle) -> None:
        """Have a bundle decoded; its `reasons` come when its rows are filled."""
        self._bundles.put(bundle)

    def waited(self, seconds: float) -> None:
        """Told that the network had to wait for a bundle: more decoders may be needed."""
        self._waited_s += seconds
        if self._at_once or self._waited_s > _MAX_WAIT_S:
            self._one_more()

    def _one_more(self) -> None:
        """Start a process, unless there are enough or one is starting already."""
        with self._lock:
            starting = not all(process.ready for process in self._processes)
            if self._closing or starting or len(self._processes) >= self._most:
                return
            process = DecoderProcess(self._server)
            self._processes.append(process)
        self._work(lambda: self._decode_there(process))

    def _work(self, run: Callable[[], None]) -> None:
        self._workers.append(Thread(target=run, daemon=True))
        self._workers[-1].start()

    def _decode_here(self) -> None:
        """The work of a thread without a process, until processes have taken over."""
        while not self._taken_over and (bundle := self._bundles.get()):
            _answer(bundle, _filled)

    def _decode_there(self, process: DecoderProcess) -> None:
        """The work of a thread that has a process."""
        if not process.start() and self._threads:
            return  # no processes can be had here: threads do all
        self._taken_over = True
        while bundle := self._bundles.get():
            _answer(bundle, lambda whole: self._asked(process, whole))
        process.close()

    def _asked(self, process: DecoderProcess, bundle: Bundle, alone: bool = False) -> Reasons:
        """What a process says; where it dies, the image in its hand is tried again alone."""
        if not bundle.images:
            return []
        try:
            reasons = process.decode(bundle.prepare, bundle.images, bundle.rows)
            self._deaths = 0
            return reasons
        except (EOFError, OSError) as end:
            if self._closing:
                raise Stopped from end
        at = process.in_hand
        self._deaths += at is None
        able = process.start() and self._deaths < _MAX_DEATHS
        if at is None and able:
            return self._asked(process, bundle, alone)
        if at is None and not alone:
            return _filled(bundle)
        at = at or 0
        name = bundle.images[at].path.name
        suspect: Reasons = [f"{name} stopped the process that decodes it: leave it out."]
        if able and not alone:
            suspect = self._asked(process, bundle.part(at, at + 1), alone=True)
        return [
            *self._asked(process, bundle.part(0, at)),
            *suspect,
            *self._asked(process, bundle.part(at + 1, len(bundle.images))),
        ]


def _filled(bundle: Bundle) -> Reasons:
    """Decode a bundle in this process."""
    pairs = zip(bundle.rows, bundle.images, strict=True)
    return [fill(row, image, bundle.prepare) for row, image in pairs]


def _answer(bundle: Bundle, decode: Callable[[Bundle], Reasons]) -> None:
    if not bundle.reasons.set_running_or_notify_cancel():
        return
    try:
        bundle.reasons.set_result(decode(bundle))
    except BaseException as error:  # it belongs to who takes the batch
        bundle.reasons.set_exception(error)
