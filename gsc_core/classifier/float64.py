"""float64, for numbers that float32 would round into ties or negative distances."""

from torch import Tensor

_WITHOUT = frozenset({"mps"})  # types of devices


def double(x: Tensor) -> Tensor:
    """`x` in float64; it moves to the CPU from a device that has none."""
    return (x.cpu() if x.device.type in _WITHOUT else x).double()
