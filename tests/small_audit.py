"""The small classifier and its pictures as files, for tests of whole audits and of the program."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_classifier import CLASSES, Small, pictures, strangers, world
from torch import Tensor

# A tensor value v is the pixel (v + 0.5) / 3, so that the classifier sees what it was trained on.
PREPROCESS = "resize=12,crop=12,mean=0.16666667,std=0.33333333"


def save_program(path: Path) -> Path:
    """The trained classifier as `.pt2`, with a free batch size."""
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(world().model.eval(), (pictures(4, 0)[0],), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def model() -> Small:
    """The module that `save_program` exports."""
    return world().model


def write_pictures(folder: Path, images: Tensor, labels: Tensor | None = None) -> list[Path]:
    """Write images `[N,3,12,12]` as PNG, in one folder for each class where `labels` are given."""
    paths = []
    for i, image in enumerate(images):
        pixels = (255 * (image + 0.5) / 3).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        parent = folder if labels is None else folder / str(int(labels[i]))
        parent.mkdir(parents=True, exist_ok=True)
        paths.append(parent / f"{i:04}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def known(folder: Path, n: int = 80, seed: int = 11) -> Path:
    """`n` pictures the classifier knows, a folder for each class."""
    write_pictures(folder, *pictures(n, seed))
    return folder


def strange(folder: Path, n: int = 40, seed: int = 12) -> Path:
    """`n` pictures of dark noise."""
    write_pictures(folder, strangers(n, seed))
    return folder


def pixels_of(path: Path) -> Tensor:
    """One picture as the classifier wants it, `[1,3,12,12]`, read with Pillow alone."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy((pixels - 0.16666667) / 0.33333333).permute(2, 0, 1)[None]


__all__ = [
    "CLASSES",
    "PREPROCESS",
    "known",
    "model",
    "pixels_of",
    "save_program",
    "strange",
    "write_pictures",
]
