"""Near copies across sets: near by the network's features, and the same to the eye.

A pair is looked at when its cosine is higher than is usual between two images of the calibration
set, and called a copy when the coarse shapes of both agree, as they are or mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gsc_core.audit.sets.neighbours import Nearest, nearest
from gsc_core.errors import ImageError
from gsc_core.images.perceptual import Hash, differing_bits, perceptual_hash
from gsc_core.run.document import CopyPair, NearCopies

USUAL = 0.99  # quantile of the nearest neighbours' cosines inside the calibration set
SURE = 0.95  # cosine from which on a pair is looked at, whatever is usual in the set
MAX_BITS = 10  # of 63, in which the hashes of copies differ at most
MAX_LOOKED_AT = 2000  # pairs: two images of each are decoded
MAX_NAMED = 200


@dataclass(frozen=True)
class Some:
    """Images of one set: its name, their rows in `scores.parquet`, features of length 1 `[N,R]`."""

    name: str
    rows: NDArray[np.intp]
    units: Tensor


def limit_of(calibration: Some, step: Callable[[], None] = lambda: None) -> float:
    """The cosine above which two images are closer than calibration images usually are."""
    if len(calibration.rows) < 2:
        return SURE
    inside = nearest(calibration.units, calibration.units, among_themselves=True, step=step)
    usual = float(np.quantile(inside.cosine.cpu().numpy(), USUAL))
    return min(usual, SURE)


def near_copies(
    some: Some,
    of: Some,
    best: Nearest,
    limit: float,
    look: Callable[[int], Tensor],
    step: Callable[[int, int], None] = lambda done, total: None,
) -> NearCopies:
    """Which images of `some` are nearly those `of` another set, of which `best` has the nearest.

    `look` gives the pixels `[C,H,W]` of a row; it may raise ImageError, and the pair is passed
    over. Where more pairs are near than can be looked at, the nearest are.
    """
    cosine = best.cosine[:, 0].cpu().numpy()
    index = best.index[:, 0].cpu().numpy()
    near = np.flatnonzero(cosine > limit)
    near = near[np.argsort(-cosine[near], kind="stable")]
    pairs: list[CopyPair] = []
    hashes = _Hashes(look)
    for done, at in enumerate(near[:MAX_LOOKED_AT]):
        step(done, min(len(near), MAX_LOOKED_AT))
        row, other = int(some.rows[at]), int(of.rows[index[at]])
        likeness = hashes.compared(row, other)
        if likeness is not None and likeness.bits <= MAX_BITS:
            pairs.append(
                CopyPair(
                    row=row,
                    of=other,
                    cosine=min(1.0, float(cosine[at])),
                    bits=likeness.bits,
                    mirrored=likeness.mirrored,
                )
            )
    return NearCopies(
        set=some.name,
        of=of.name,
        images=len(pairs),
        tested=len(some.rows),
        near=len(near),
        looked_at=min(len(near), MAX_LOOKED_AT),
        pairs=tuple(pairs[:MAX_NAMED]),
    )


@dataclass(frozen=True)
class _Likeness:
    bits: int
    mirrored: bool


class _Hashes:
    """Hashes of rows, each image decoded once for a while."""

    def __init__(self, look: Callable[[int], Tensor]) -> None:
        self._of = lru_cache(maxsize=4096)(lambda row: _both(look, row))

    def compared(self, row: int, other: int) -> _Likeness | None:
        """How two images differ, the one as it is or mirrored; None where one cannot be read."""
        one, two = self._of(row), self._of(other)
        if one is None or two is None:
            return None
        plain, mirrored = differing_bits(one[0], two[0]), differing_bits(one[1], two[0])
        return _Likeness(min(plain, mirrored), mirrored < plain)


def _both(look: Callable[[int], Tensor], row: int) -> tuple[Hash, Hash] | None:
    try:
        pixels = look(row)
    except ImageError:
        return None
    return perceptual_hash(pixels), perceptual_hash(pixels.flip(-1))
