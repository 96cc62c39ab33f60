"""What a detector does that nobody foresaw: it is left out for it, and the others go on.

Being told to stop and running out of memory are not faults of a detector: they end the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from gsc_core.classifier.guard import of_memory, said_by
from gsc_core.errors import Cancelled
from gsc_core.log import Step

FAILED = "failed: "


class Stop(BaseException):
    """Carries past a detector what a step raised to stop: it can neither swallow nor cause that."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def stopping(step: Step) -> Step:
    """The step, so that what it raises goes through every detector that is told of it."""

    def stoppable(phase: str, done: int, total: int) -> None:
        try:
            step(phase, done, total)
        except Exception as reason:
            raise Stop(reason) from reason

    return stoppable


@contextmanager
def unstopped() -> Iterator[None]:
    """Lets what a step raised be itself again."""
    try:
        yield
    except Stop as stop:
        raise stop.reason from None


def is_fault(error: Exception) -> bool:
    """Whether it is the detector's that raised it, and not the end of the whole work."""
    return not isinstance(error, Cancelled) and not of_memory(error)


def in_words(error: Exception) -> str:
    """Why a detector is left out for a fault, in one line without a full stop."""
    return f"{FAILED}{said_by(error)}, a fault of GSC Audit; the log has the details"


def checked(scores: object, images: int) -> Tensor:
    """The scores `[B]` of so many images as float32, where they are, if a detector gave them.

    Raises TypeError or ValueError where they are not.
    """
    if not isinstance(scores, Tensor):
        raise TypeError(f"scores are a {type(scores).__name__} and no tensor")
    if not scores.is_floating_point():
        raise TypeError(f"scores are {str(scores.dtype).removeprefix('torch.')} and no floats")
    if scores.shape != (images,):
        raise ValueError(f"scores have the shape {list(scores.shape)} for {images} images")
    if scores.requires_grad:
        raise ValueError("scores carry a graph")
    return scores.float()
