"""The audit's end of a decoder process, and of the server that decoders are forked from."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock

import numpy as np
from torch import Tensor

from gsc_core.images.imageset import ImageFile
from gsc_core.scoring.decoder import Prepare, SharedPixels

_SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from gsc_core.scoring.decoder import serve_forks
serve_forks(int(sys.argv[2]))
"""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ForkServer:
    """A process that has imported what decoding needs, and forks decoders; started when needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._closed = False
        self._lock = Lock()

    def fork(self, pipe: int, memory: int) -> int:
        """Have a decoder forked that takes orders from `pipe`; the server's process id.

        Raises OSError when it cannot be.
        """
        with self._lock:
            if self._closed:
                raise BrokenPipeError
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._control is not None and self._process is not None
            with suppress(BrokenPipeError):  # it has just died, as who waits for the fork will see
                socket.send_fds(self._control, [b"."], [pipe, memory])
            return self._process.pid

    def end(self, pid: int) -> None:
        """End the server of this process id, whose forks do not come; decoders live on."""
        with self._lock:
            if self._process is not None and self._process.pid == pid:
                self._process.kill()
                self._process.wait()

    def _start(self) -> None:
        """In a group of its own: Ctrl-C is for the audit, which then ends its decoders."""
        if self._control is not None:
            self._control.close()
        self._control, child_end = socket.socketpair()
        with child_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, "-c", _SERVE, json.dumps(sys.path), str(child_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
                env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
                process_group=0,
            )

    def close(self) -> None:
        """End the server; decoders end with their pipes."""
        with self._lock:
            self._closed = True
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                self._process.kill()  # it may be importing, and holds nothing
                self._process.wait()


class DecoderProcess:
    """A decoder, as the one thread that gives it orders sees it."""

    def __init__(self, server: ForkServer) -> None:
        self.ready = False
        self._server = server
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._shared: SharedPixels | None = None

    def start(self) -> bool:
        """Start a process, in place of one that died; whether that was possible.

        Whatever ended that one may have ended the server too, a moment later: then another try
        starts another server.
        """
        return self._try_to_start() or self._try_to_start()

    def _try_to_start(self) -> bool:
        self.close()
        server: int | None = None
        try:
            memory = SharedPixels.create()
            try:
                self._shared = SharedPixels(memory)
                self._socket, child_end = socket.socketpair()
                with child_end:
                    server = self._server.fork(child_end.fileno(), memory)
            finally:
                os.close(memory)
            self._connection = Connection(os.dup(self._socket.fileno()))
            self._connection.recv()
        except (EOFError, OSError):
            if server is not None:
                self._server.end(server)
            return False
        self.ready = True
        return True

    def decode(
        self, prepare: Prepare, images: Sequence[ImageFile], rows: Tensor
    ) -> list[str | None]:
        """Fill `rows [n,3,h,w]`; says of each image what is wrong with it, if something is.

        Raises EOFError or OSError when the process dies; `in_hand` is then the image it was at.
        """
        if self._connection is None or self._shared is None:
            raise EOFError
        self._shared.in_hand = None
        self._connection.send((prepare, images, tuple(rows.shape)))
        reasons: list[str | None] = self._connection.recv()
        # Not by torch: each of these threads would have a team of threads of its own.
        np.copyto(rows.numpy(), self._shared.pixels(rows.shape).numpy())
        return reasons

    @property
    def in_hand(self) -> int | None:
        """Index of the image that was being decoded when the process died, if one was."""
        return None if self._shared is None else self._shared.in_hand

    def close(self) -> None:
        """End the process, whatever it is at; the thread that waits for it gets an EOFError."""
        if self._socket is not None:
            with suppress(OSError):  # it is gone already
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
