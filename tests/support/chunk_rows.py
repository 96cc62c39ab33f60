"""Rows of a chunk without an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from gsc_core.images import ImageFile
from gsc_core.scoring.chunks import Rows
from gsc_core.scoring.scorer import Scores


def rows(n: int, name: str = "id", columns: Sequence[str] = ("energy",)) -> Rows:
    images = [ImageFile(Path(f"{i}.png"), f"{i}.png", f"{i:064}") for i in range(n)]
    outlier = {column: torch.arange(n).float() for column in columns}
    after = {column: torch.arange(n) for column in columns if column == "gsc"}
    scores = Scores(torch.arange(n), torch.ones(n), outlier, after)
    return Rows(name, "id", images, [0] * n, scores)
