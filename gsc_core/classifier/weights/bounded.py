"""No network is built that is far larger than the weights which are to go into it.

Options may come with a file, and one of them can ask for a million layers. A network is counted
while torch builds it, layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from gsc_core.errors import SpecError


class TooLargeError(SpecError):
    """A network was to be built that is far larger than its weights."""

    def __init__(self) -> None:
        super().__init__(
            "The options ask for a network far larger than the weights in the file: correct them, "
            "or leave them out."
        )


@dataclass(frozen=True)
class Bounds:
    """How many layers and values a network may have."""

    layers: int
    values: int

    @classmethod
    def around(cls, weights: Mapping[str, Tensor]) -> Bounds:
        """Generous ones: a file may lack what is not trained, and hold half the numbers."""
        values = sum(tensor.numel() for tensor in weights.values())
        return cls(10_000 + 20 * len(weights), 200_000_000 + 8 * values)


_BOUNDS: ContextVar[Bounds | None] = ContextVar("bounds", default=None)


@contextmanager
def bounded_by(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """What is built in the block is at most as large as these weights want it."""
    token = _BOUNDS.set(Bounds.around(weights))
    try:
        yield
    finally:
        _BOUNDS.reset(token)


@contextmanager
def counted() -> Iterator[None]:
    """Build one network; TooLargeError as soon as it is larger than the bounds, if there are."""
    bounds = _BOUNDS.get()
    if bounds is None:
        yield
        return
    layers = values = 0

    def layer(_: nn.Module, name: str, added: nn.Module | None) -> None:
        nonlocal layers
        layers += 1
        if layers > bounds.layers:
            raise TooLargeError

    def parameter(_: nn.Module, name: str, added: nn.Parameter | None) -> None:
        nonlocal values
        values += 0 if added is None else added.numel()
        if values > bounds.values:
            raise TooLargeError

    hooks = (
        register_module_module_registration_hook(layer),
        register_module_parameter_registration_hook(parameter),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
