"""An exported detector to a function again, even when the file comes from a stranger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gsc_core.classifier.guard import loading, running
from gsc_core.classifier.pt2.operators import DETECTOR
from gsc_core.classifier.pt2.reader import open_program
from gsc_core.deploy.card import DetectorCard, read_card
from gsc_core.errors import CheckpointError

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Logits `[B,K]`; score, percentile 0 to 100, and flagged, `[B]` each."""

Detect = Callable[[Tensor], Outputs]
"""From images uint8 `[B,3,H,W]` of any size."""

_KINDS = ((torch.float32, 2), (torch.float32, 1), (torch.float32, 1), (torch.bool, 1))
"""Number format and number of axes of each output."""


def load_detector(path: Path) -> tuple[Detect, DetectorCard]:
    """Open a `detector.pt2` with the card beside it, `detector.json`.

    Nothing in the file is given to torch but what passed the gate (`classifier.gate`), so that one
    which a stranger made runs no code here. Raises SpecError or CheckpointError when the card is
    missing, the two do not belong together, or the program is not an exported detector.

    >>> import torch
    >>> from gsc_core import load_detector
    >>> detect, card = load_detector(Path("detector.pt2"))
    >>> logits, score, percentile, flagged = detect(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    >>> tuple(logits.shape)
    (1, 16)
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file: give the path of an exported detector.")
    card = read_card(path.with_suffix(".json"))
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: check the path.") from error
    if digest != card.program_sha256:
        raise CheckpointError(
            f"{path.name} and {path.stem}.json do not belong together: copy both files again."
        )
    return open_detector(path), card


def open_detector(path: Path) -> Detect:
    """The program in a file, behind the gate; raises CheckpointError.

    So does a call, when the program gives something else than a detector does.
    """
    try:
        with loading(path.name):
            module = open_program(path, DETECTOR).module(check_guards=False)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path.name} was not written by `gsc export`, so it was not opened: export it again."
        ) from error

    def detect(images: Tensor) -> Outputs:
        with torch.no_grad(), running(path.name):
            outputs: Outputs = module(images)
        if not _are_answers(outputs, len(images)):
            raise CheckpointError(
                f"{path.name} does not answer like a detector written by `gsc export`: export it "
                "again."
            )
        return outputs

    return detect


def _are_answers(outputs: Outputs, batch: int) -> bool:
    """Whether these are logits, score, percentile and flagged of so many images."""
    fit = all(
        isinstance(one, Tensor) and (one.dtype, one.ndim) == kind and len(one) == batch
        for one, kind in zip(outputs, _KINDS, strict=True)
    )
    return fit and bool(((outputs[2] >= 0) & (outputs[2] <= 100)).all())


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
