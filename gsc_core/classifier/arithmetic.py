"""In which numbers a network computes: float32, TF32 or bfloat16.

What detectors read and compute themselves is float32 in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum

import torch

from gsc_core.classifier.spec import PrecisionSetting
from gsc_core.errors import SpecError

_AMPERE = (8, 0)  # the first compute capability with TF32


class Precision(StrEnum):
    """How the network computes.

    - `float32`: nothing is rounded to fewer bits.
    - `tf32`: convolutions and matrix products on CUDA round their inputs to 10 bits of mantissa.
    - `bf16`: they take bfloat16, 7 bits, by autocast.
    """

    FLOAT32 = "float32"
    TF32 = "tf32"
    BF16 = "bf16"

    @classmethod
    def of(cls, setting: PrecisionSetting, device: torch.device) -> Precision:
        """The precision that a setting means on a device: `auto` is TF32 on CUDA, else float32.

        Raises SpecError where the device has no bfloat16.
        """
        if setting == "bf16":
            if device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
                raise SpecError("This graphics card has no bfloat16: choose precision auto.")
            return cls.BF16
        return cls.TF32 if setting == "auto" and _has_tf32(device) else cls.FLOAT32

    def flags(self, device: torch.device) -> AbstractContextManager[None]:
        """While it is open, forward and backward passes on the device multiply in this precision.

        PyTorch holds this in flags of the whole process, so they are set around each pass and put
        back: by default convolutions are TF32, and matrix products are not.
        """
        return _cuda_flags(self is self.TF32) if device.type == "cuda" else nullcontext()

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """While it is open, the operators of a forward pass take this precision."""
        if self is self.BF16:
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()


def _has_tf32(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _AMPERE


@contextmanager
def _cuda_flags(tf32: bool) -> Iterator[None]:
    # the older of PyTorch's two ways: its compiler reads these flags, and refuses where they were
    # set by the newer (pytorch issue 166387)
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
