"""A decoder: a process that turns image files into pixels in memory it shares with the audit.

Decoders are forked from a server that has imported what decoding needs, so that one more costs
milliseconds. `multiprocessing` forks likewise, but imports the caller's script into each process,
which a script without the usual guard does not survive. A decoder ends as soon as the other end of
its pipe is closed: with the audit, or with the process that ran it, however that ended.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread

import torch
from torch import Tensor

from gsc_core.classifier.preprocessing import Preprocessing
from gsc_core.errors import ImageError
from gsc_core.images.decode import decode
from gsc_core.images.imageset import ImageFile
from gsc_core.images.sources.address import BytesAt

Prepare = Callable[[BytesAt], Tensor]
"""From where an image lies to uint8 `[3,h,w]`. Whatever it raises is the image's fault."""

Order = tuple[Prepare, Sequence[ImageFile], tuple[int, ...]]
"""What a decoder is asked: how, which images, and the shape `[n,3,h,w]` they fill."""

_HEADER = mmap.PAGESIZE  # in front of the pixels: the number of the image in hand, from 1 on
_MAX_PIXELS = 3 * 4096 * 4096  # of one image: `Preprocessing.crop` allows no more


def prepared(preprocessing: Preprocessing, path: BytesAt) -> Tensor:
    """Decode, resize and crop an image: uint8 `[3,h,w]`. Raises ImageError."""
    return preprocessing.resize_crop(decode(path))


def fill(row: Tensor, image: ImageFile, prepare: Prepare) -> str | None:
    """Put the pixels of an image into `row`; what is wrong with the image, if something is."""
    try:
        row.copy_(prepare(image.path))
    except ImageError as error:
        return str(error)
    except Exception as error:  # no single image ends an audit
        if isinstance(error, MemoryError) or "memory" in str(error):
            return f"{image.path.name} needs more memory than is available: save it smaller."
        said = " ".join(str(error).split()).rstrip(".")
        return f"{image.path.name} cannot be prepared: {type(error).__name__}: {said}."
    return None


class SharedPixels:
    """Memory that a decoder and the audit both see: pixels, and which image is in hand.

    It is a file without a name, as large as the largest image; pages that nobody touches cost
    nothing, and nothing is left however the processes end.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _HEADER + _MAX_PIXELS)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self._in_hand = self._bytes[:8].view(torch.int64)

    @staticmethod
    def create() -> int:
        """A file descriptor of such memory."""
        descriptor = os.memfd_create("decoded images")
        os.ftruncate(descriptor, _HEADER + _MAX_PIXELS)
        return descriptor

    @staticmethod
    def room(shape: Sequence[int]) -> int:
        """How many images `[3,h,w]` of this shape it holds."""
        return _MAX_PIXELS // torch.Size(shape).numel()

    def pixels(self, shape: Sequence[int]) -> Tensor:
        """The pixels as uint8 `[n,3,h,w]`: not a copy."""
        return self._bytes[_HEADER : _HEADER + torch.Size(shape).numel()].view(*shape)

    @property
    def in_hand(self) -> int | None:
        """Index of the image that is being decoded, if one is."""
        number = int(self._in_hand)
        return number - 1 if number else None

    @in_hand.setter
    def in_hand(self, index: int | None) -> None:
        self._in_hand.fill_(0 if index is None else index + 1)


def serve_forks(control: int) -> None:
    """Fork a decoder for each pipe and memory that come through a socket, until that is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system clears away ended decoders
    with socket.socket(fileno=control) as orders:
        while descriptors := socket.recv_fds(orders, 1, 2)[1]:
            try:
                child = os.fork() == 0
            except OSError:  # no room for one more: the closed pipe tells
                child = False
            if child:
                orders.close()
                _decode_until_closed(*descriptors)
            for descriptor in descriptors:
                os.close(descriptor)


def _decode_until_closed(pipe: int, memory: int) -> None:
    try:
        torch.set_num_threads(1)
        connection, shared = Connection(pipe), SharedPixels(memory)
        orders: SimpleQueue[Order] = SimpleQueue()
        Thread(target=_receive, args=(connection, orders), daemon=True).start()
        connection.send("ready")
        while True:
            prepare, images, shape = orders.get()
            reasons = []
            for index, (image, row) in enumerate(zip(images, shared.pixels(shape), strict=True)):
                shared.in_hand = index
                reasons.append(fill(row, image, prepare))
            shared.in_hand = None
            connection.send(reasons)
    finally:
        os._exit(1)


def _receive(connection: Connection, orders: SimpleQueue[Order]) -> None:
    """Wait for orders beside the decoding, so that a closed pipe ends the process at once."""
    try:
        while True:
            orders.put(connection.recv())
    finally:
        os._exit(0)
