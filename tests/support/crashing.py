"""Preparing images in ways that end the process, for the tests of what decodes them."""

import os
import signal
from pathlib import Path

import torch
from torch import Tensor

from gsc_core.classifier import Preprocessing

FATAL = (13, 11)
"""Width and height of an image that `Fatal` does not survive."""


class Fatal(Preprocessing):
    """Preprocessing that kills its process, as the system does where memory runs out."""

    def resize_crop(self, image: Tensor) -> Tensor:
        if tuple(image.shape[1:]) == FATAL[::-1]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().resize_crop(image)


def _number(path: Path) -> Tensor:
    """A surrogate image for pixels, `[3,4,4]`: the number an image is named by."""
    return torch.full((3, 4, 4), int(path.stem), dtype=torch.uint8)


def numbered(path: Path) -> Tensor:
    return _number(path)


def aborting(path: Path) -> Tensor:
    """Crash, as a decoder's own fault would, on the images 3 and 17."""
    if path.stem in ("3", "17"):
        os.abort()
    return _number(path)


def killed_once(path: Path) -> Tensor:
    """Be killed from outside at the image 5, the first time."""
    mark = path.with_suffix(".killed")
    if path.stem == "5" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _number(path)


def killed_beside_a_halted_server(path: Path) -> Tensor:
    """As `killed_once`, once the server that forks decoders has been halted."""
    mark = path.with_suffix(".killed")
    if path.stem == "5" and not mark.exists():
        os.kill(os.getppid(), signal.SIGSTOP)
    return killed_once(path)


def waiting(path: Path) -> Tensor:
    """Tell who decodes, and then take for ever."""
    path.with_suffix(".pid").write_text(str(os.getpid()))
    signal.pause()
    raise AssertionError


def exhausted(path: Path) -> Tensor:
    """Ask for more memory than any machine has, at the image 2."""
    if path.stem == "2":
        return torch.empty(2**50, dtype=torch.uint8)
    return _number(path)
