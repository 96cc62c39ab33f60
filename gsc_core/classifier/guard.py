"""Where an unfamiliar network's graph runs: whatever it raises becomes one sentence about it.

Such a graph can make torch fail in any way: an index out of range, an input called `import`, a size
that overflows. None of that is our fault, or of use to who gave the file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from gsc_core.errors import Cancelled, CheckpointError, GscError

LOAD_LIMIT_S = 600
"""Seconds that opening and checking a network may take."""

_NO_MEMORY = "can't allocate memory", "not enough memory", "bad_alloc", "out of memory"
_LONGEST = 160  # letters of what torch says


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Open and check a network called `name`: CheckpointError for whatever goes wrong.

    So it is when memory runs out, and in a program's main thread when it takes ten minutes.
    """
    with running(name):
        try:
            with _limited(name):
                yield
        except Exception as error:
            if not of_memory(error):
                raise
            raise CheckpointError(
                f"{name} needs more memory to open than is available: use a smaller model, or "
                "a machine with more."
            ) from error


@contextmanager
def running(name: str) -> Iterator[None]:
    """Run a graph: CheckpointError for what it raises, without what torch would print of it.

    What says its own sentence goes through, and being told to stop, and a lack of memory.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (GscError, Cancelled):
        raise
    except Exception as error:
        if of_memory(error):
            raise
        raise CheckpointError(
            f"{name} cannot be run ({said_by(error)}): export it again, or save model.state_dict() "
            "and name the architecture."
        ) from error


def said_by(error: BaseException) -> str:
    """What kind of error it is and its first line, short and without a full stop."""
    kind, line = type(error).__name__, first_line(error)
    text = kind if line == kind else f"{kind}: {line}"
    return (text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…").rstrip(" .:")


def first_line(error: BaseException) -> str:
    """The first line of an error, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of an accelerator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in _NO_MEMORY
    )


@contextmanager
def _limited(name: str) -> Iterator[None]:
    """Raise CheckpointError after LOAD_LIMIT_S, where signals are heard: in the main thread."""
    if threading.current_thread() is not threading.main_thread() or _is_limited():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise CheckpointError(
            f"{name} took longer than {round(LOAD_LIMIT_S / 60)} minutes to open, so it was "
            "stopped: export it again, or use a smaller model."
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, LOAD_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_limited() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0
