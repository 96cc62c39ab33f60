"""float64, for numbers that float32 would round into ties or negative distances."""

from torch import Tensor


def double(x: Tensor) -> Tensor:
    """`x` in float64; it moves to the CPU from a device that has no float64 (MPS)."""
    return (x.cpu() if x.device.type == "mps" else x).double()
