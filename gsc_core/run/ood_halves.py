"""Two halves of each OOD set: one picks a detector and sets a threshold, the other tests them.

An image's half follows from its SHA-256, so a run is parted alike every time. In a file of its own
so that nothing else decides which images a person or a rule may see. An image that is in two sets,
and would be in another half of each, only tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_core.errors import GscError
from gsc_core.evaluation.metrics import Floats
from gsc_core.run import score_table
from gsc_core.run.layout import CALIBRATION, ID
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Run, version_of

FEWEST = 2  # images of a half


class TooFewError(GscError):
    """A set is too small for two halves; the message is for whoever set a rule or picked."""

    def __init__(self, ood_set: str, images: int) -> None:
        super().__init__(
            f'The set "{ood_set}" has too few images of its own ({images}) for a rule that looks '
            "at unfamiliar images, or to pick a detector by them, which takes "
            f"{2 * FEWEST} of each set, one half to choose by and one to test: accept a share of "
            "familiar images with the default detector, or type a value for it."
        )
        self.ood_set, self.images = ood_set, images


@dataclass(frozen=True)
class Halves:
    """Row numbers, rising, of each OOD set's two halves; of an odd number one more tests.

    No image is in both, so `setting` is less than a half where sets share images.
    """

    setting: Mapping[str, Rows]
    testing: Mapping[str, Rows]


def halves(run: Run) -> Halves:
    """How the run's unfamiliar images are parted. Raises TooFewError for a set too small for it.

    Leaving images out of a run changes no other image's half: what picked does not judge then.
    """
    parted = _parted(run.path, version_of(run.path))
    if not set(run.ood_sets) <= parted.testing.keys():
        raise score_table.damaged(run.path)
    counting = run.members().counting
    setting, testing = (
        {name: counting(rows[name]) for name in run.ood_sets}
        for rows in (parted.setting, parted.testing)
    )
    for name in run.ood_sets:
        if min(len(setting[name]), len(testing[name])) < FEWEST:
            raise TooFewError(name, len(run.rows_of([name])))
    return Halves(setting, testing)


def scores_of(run: Run, detector: str, rows: Mapping[str, Rows]) -> dict[str, Floats]:
    """One detector's outlier scores of these images of each OOD set."""
    column = run.column(detector)
    return {name: column[of_set].astype(np.float64) for name, of_set in rows.items()}


@lru_cache(maxsize=8)
def _parted(folder: Path, version: int) -> Halves:
    order = score_table.digests(folder, version)
    by_name = score_table.members(folder, version).by_name
    setting, testing = {}, {}
    for name in by_name.keys() - {ID, CALIBRATION}:
        rows = by_name[name]
        mixed = rows[np.argsort(order[rows], kind="stable")]
        middle = len(rows) // 2
        setting[name], testing[name] = mixed[:middle], np.sort(mixed[middle:])
    tested = [order[rows] for rows in testing.values()]
    in_order = np.sort(np.concatenate(tested)) if tested else order[:0]
    for name, rows in setting.items():
        setting[name] = np.sort(rows[~_among(order[rows], in_order)])
    return Halves(setting, testing)


def _among(values: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of some rising values are among others, rising: a tenth of the time of `np.isin`."""
    if not len(others):
        return np.zeros(len(values), dtype=np.bool_)
    at = np.searchsorted(others, values)
    return np.asarray(others[np.minimum(at, len(others) - 1)] == values)
