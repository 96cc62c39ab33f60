"""OOD images that look familiar in every respect: perhaps they are, and the set holds them wrongly.

An image that a detector misses looks familiar to that detector. Here the classifier, its features
and most detectors agree, each beside what is usual of ID images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gsc_core.evaluation.metrics import Floats
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.set_checks import FamiliarLooking

MIDDLE = 0.5  # quantile of ID images
AGREEING = 0.5  # share of detectors that is not enough
FEWEST = 5  # calibration images taken for a class, under which being near to them says nothing
MAX_NAMED = 200


def familiar_looking(
    rows_of: Mapping[str, NDArray[np.intp]],
    predicted: NDArray[np.int64],
    confidence: Floats,
    nearness: Floats,
    scores: Sequence[Floats],
) -> tuple[FamiliarLooking, ...]:
    """Of each OOD set, whose rows `rows_of` has beside those of ID and calibration images.

    `predicted` classes, `confidence`, `nearness` (cosine to calibration images) and each detector's
    outlier `scores` are of all rows `[N]`; detectors that point the wrong way are left out of them.
    Of a class for which few calibration images are taken, being near to them is not asked.
    """
    familiar = rows_of[ID]
    if not scores or not len(familiar):
        return ()
    sure = confidence >= np.quantile(confidence[familiar], MIDDLE)
    of_class = np.bincount(predicted[rows_of[CALIBRATION]], minlength=predicted.max() + 1)
    near = nearness >= np.quantile(nearness[familiar], MIDDLE)
    near |= of_class[predicted] < FEWEST
    ranks = [_share_below(score[familiar], score) for score in scores]
    agreeing = np.mean([rank <= MIDDLE for rank in ranks], axis=0) > AGREEING
    order = np.mean(ranks, axis=0)
    looks = sure & near & agreeing
    listed = []
    for name, rows in rows_of.items():
        if name in (ID, CALIBRATION) or not (of_set := rows[looks[rows]]).size:
            continue
        first = of_set[np.argsort(order[of_set], kind="stable")]
        listed.append(
            FamiliarLooking(
                set=name,
                images=len(first),
                tested=len(rows),
                rows=tuple(first[:MAX_NAMED].tolist()),
            )
        )
    return tuple(listed)


def _share_below(familiar: Floats, scores: Floats) -> Floats:
    """Share of ID images with a lower score."""
    below = np.searchsorted(np.sort(familiar), scores)
    return np.asarray(below / len(familiar), dtype=np.float64)
