"""Near copies across sets: pairs of images that show the same, as they are or mirrored.

Pairs are found by the coarse shapes that the pass left of every image, and called copies by their
finer shapes, for which both are decoded again. Where images of one set look alike by nature (the
same sign, the same view), copies must be more alike than those are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_core.audit.sets.neighbours import Nearest, nearest
from gsc_core.errors import ImageError
from gsc_core.images.shapes import FINE, mirrored, shapes
from gsc_core.run.set_checks import CopyPair, NearCopies

COARSELY = 0.92  # likeness of coarse shapes from which on a pair is looked at
FINELY = 0.86  # of fine shapes, from which on it is a pair of copies, where its set has no such
SURELY = 0.97  # from which on it is one in any set
USUAL = 0.99  # quantile of calibration images' likeness to the one most like them
SAMPLE = 200  # calibration images that are looked at for that
MAX_LOOKED_AT = 2000  # pairs: two images of each are decoded
MAX_NAMED = 200
MAX_PAIRS = 2 * 10**9  # of images of two sets that are compared coarsely: some ten seconds

Look = Callable[[int], Tensor]
"""The pixels `[C,H,W]` of a row of `scores.parquet`; raises ImageError where they are gone."""


@dataclass(frozen=True)
class Some:
    """Images of one set: its name, their rows in `scores.parquet`, coarse shapes `[N,63]`."""

    name: str
    rows: NDArray[np.intp]
    shapes: Tensor

    def part(self, count: int) -> Some:
        """So many of the images by chance, always the same, in their order."""
        if count >= len(self.rows):
            return self
        at = np.sort(np.random.default_rng(0).choice(len(self.rows), count, replace=False))
        return Some(self.name, self.rows[at], self.shapes[torch.from_numpy(at)])


class Likeness:
    """How alike images are by their fine shapes; each is decoded once for a while."""

    def __init__(self, look: Look) -> None:
        self._shapes = lru_cache(maxsize=4096)(lambda row: _fine(look, row))

    def __call__(self, row: int, other: int) -> tuple[float, bool]:
        """0 to 1, and whether mirrored; 0 where one of the two cannot be read."""
        one, two = self._shapes(row), self._shapes(other)
        if one is None or two is None:
            return 0.0, False
        plain, flipped = float(one @ two), float(mirrored(one[None])[0] @ two)
        return min(1.0, max(0.0, plain, flipped)), flipped > plain


def most_alike(
    queries: Tensor,
    bank: Tensor,
    step: Callable[[], None] = lambda: None,
    *,
    among_themselves: bool = False,
) -> Nearest:
    """The image of `bank [M,F]` most like each of `queries [N,F]`, mirrored or not."""
    plain = nearest(queries, bank, among_themselves=among_themselves, step=step)
    flipped = nearest(mirrored(queries), bank, among_themselves=among_themselves, step=step)
    is_flipped = flipped.cosine > plain.cosine
    return Nearest(
        torch.where(is_flipped, flipped.index, plain.index),
        torch.where(is_flipped, flipped.cosine, plain.cosine),
    )


def limit_of(calibration: Some, likeness: Likeness, step: Callable[[], None]) -> float:
    """How alike two images must be, by their fine shapes, to be called copies.

    More than calibration images and those most like them nearly ever are: that is learned from a
    sample, against all others.
    """
    if len(calibration.rows) < 2:
        return FINELY
    some = calibration.shapes[:SAMPLE]
    best = most_alike(some, calibration.shapes, step, among_themselves=True)
    values = []
    for at, (other, coarse) in enumerate(zip(best.index[:, 0], best.cosine[:, 0], strict=True)):
        step()
        near = float(coarse) >= COARSELY
        rows = int(calibration.rows[at]), int(calibration.rows[int(other)])
        values.append(likeness(*rows)[0] if near else 0.0)
    return float(np.clip(np.quantile(values, USUAL), FINELY, SURELY))


def near_copies(
    some: Some,
    of: Some,
    limit: float,
    likeness: Likeness,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> NearCopies:
    """Which images of `some` show the same as images `of` another set.

    Of sets too large to be compared whole a random part is. Where more pairs are coarsely alike
    than can be looked at, those most alike are.
    """
    tested, others = len(some.rows), len(of.rows)
    some, of = _to_compare(some, of)
    best = most_alike(some.shapes, of.shapes, lambda: step(0, 1))
    coarse, index = best.cosine[:, 0].cpu().numpy(), best.index[:, 0].cpu().numpy()
    near = np.flatnonzero(coarse >= COARSELY)
    near = near[np.argsort(-coarse[near], kind="stable")]
    looked_at = near[:MAX_LOOKED_AT]
    pairs: list[CopyPair] = []
    for done, at in enumerate(looked_at):
        step(done, len(looked_at))
        row, other = int(some.rows[at]), int(of.rows[index[at]])
        alike, flipped = likeness(row, other)
        if alike >= limit:
            pairs.append(CopyPair(row=row, of=other, likeness=alike, mirrored=flipped))
    pairs.sort(key=lambda pair: -pair.likeness)
    return NearCopies(
        set=some.name,
        of=of.name,
        images=len(pairs),
        tested=tested,
        whole=(len(some.rows), len(of.rows)) == (tested, others),
        near=len(near),
        looked_at=len(looked_at),
        pairs=tuple(pairs[:MAX_NAMED]),
    )


def _to_compare(some: Some, of: Some) -> tuple[Some, Some]:
    """As much of both as makes `MAX_PAIRS` pairs; all of the smaller one, if that is enough."""
    n, m = len(some.rows), len(of.rows)
    fewest = min(n, m, math.isqrt(MAX_PAIRS))
    most = min(max(n, m), MAX_PAIRS // max(1, fewest))
    return (some.part(fewest), of.part(most)) if n <= m else (some.part(most), of.part(fewest))


def _fine(look: Look, row: int) -> Tensor | None:
    try:
        return shapes(look(row)[None], FINE)[0]
    except ImageError:
        return None
