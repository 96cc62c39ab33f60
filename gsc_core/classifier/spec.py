"""Which classifier to audit, and in which numbers it computes: what a person may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gsc_core.classifier.preprocessing import Preprocessing

PrecisionSetting = Literal["auto", "float32", "bf16"]
"""See `arithmetic.Precision`; `auto` is TF32 on CUDA and float32 elsewhere."""


class ModelSpec(BaseModel):
    """Which classifier to audit.

    Attributes:
        checkpoint: a safetensors file, a PyTorch state dict, a `.pt2` program, or a folder (or ZIP
            of one) as Hugging Face has it.
        architecture: needed for weights: `torchvision/resnet18`, `timm/resnet18`, or bare.
        options: arguments of the architecture's constructor.
        weights: which ones where a file holds several: `plain`, `ema` or a name in the file. None
            asks where they differ.
        pretrained: take the library's own weights and no checkpoint.
        preprocessing: None takes the file's or the library's, else the usual one, named as assumed.
        class_names: a text or JSON file, or `imagenet` for ImageNet-1k's; None takes the file's or
            the library's.

    >>> from gsc_core import ModelSpec
    >>> spec = ModelSpec(checkpoint=Path("weights.pt"), architecture="torchvision/resnet50")
    >>> spec.pretrained
    False
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Path | None = None
    architecture: str | None = None
    options: dict[str, Any] = {}
    weights: str | None = None
    pretrained: bool = False
    preprocessing: Preprocessing | None = None
    class_names: Literal["imagenet"] | Path | None = None
