"""The small classifier and its images as files, for tests of whole audits and of the program."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from small_classifier import Small, pictures, strangers, world
from torch import Tensor

# A tensor value v is the pixel (v + 0.5) / 3, so that the classifier sees what it was trained on.
MEAN, STD = 0.16666667, 0.33333333
PREPROCESS = f"resize=12,crop=12,mean={MEAN},std={STD}"


def model() -> Small:
    """The trained module."""
    return world().model.eval()


def save_program(path: Path) -> Path:
    """The module as `.pt2`, with a free batch size."""
    shutil.copy(Path(_stage().name) / "small.pt2", path)
    return path


def write_pictures(folder: Path, images: Tensor, labels: Tensor | None = None) -> Path:
    """Write images `[N,3,12,12]` as PNG, in one folder for each class where `labels` are given."""
    for i, image in enumerate(images):
        pixels = (255 * (image + 0.5) / 3).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
        parent = folder if labels is None else folder / str(int(labels[i]))
        parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(parent / f"{i:04}.png")
    return folder


def known(folder: Path, n: int, seed: int) -> Path:
    """`n` images the classifier knows, a folder for each class."""
    return write_pictures(folder, *pictures(n, seed))


def strange(folder: Path, n: int, seed: int) -> Path:
    """`n` images of dark noise."""
    return write_pictures(folder, strangers(n, seed))


def faint(folder: Path, n: int, seed: int) -> Path:
    """`n` known images too faint to be sure of: harder than noise."""
    images, _ = pictures(n, seed)
    return write_pictures(folder, 0.45 * images + 0.55 * strangers(n, seed + 1))


def write_stage(folder: Path) -> Path:
    """A model and image sets: `small.pt2`, `id`, `calibration`, `noise` and `faint`."""
    shutil.copytree(_stage().name, folder, dirs_exist_ok=True)
    return folder


@cache
def _stage() -> TemporaryDirectory[str]:
    """The stage as it is made once a process, for every test to copy; gone when that ends."""
    made = TemporaryDirectory(prefix="stage-")
    folder = Path(made.name)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model(), (pictures(4, 0)[0],), dynamic_shapes=shapes)
    torch.export.save(program, folder / "small.pt2")
    known(folder / "id", 80, seed=11)
    known(folder / "calibration", 60, seed=12)
    strange(folder / "noise", 40, seed=13)
    faint(folder / "faint", 50, seed=14)
    return made


def read_with_pillow(path: Path) -> Tensor:
    """One image as the classifier wants it, `[1,3,12,12]`, read with Pillow alone."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255
    return torch.from_numpy((pixels - MEAN) / STD).float().permute(2, 0, 1)[None]
