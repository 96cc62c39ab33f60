"""Does the written program give the audit's scores? Asked of the file, on the audit's images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from gsc_core.audit.reopen import Reopened
from gsc_core.deploy.card import Agreement
from gsc_core.deploy.loading import Detect
from gsc_core.detectors.ensemble import Ensemble
from gsc_core.errors import GscError, SpecError
from gsc_core.evaluation.metrics import Floats
from gsc_core.images.decode import decode_bytes
from gsc_core.progress import Progress
from gsc_core.run.document import RunDocument
from gsc_core.run.image_files import ImageFiles
from gsc_core.run.layout import SCORES_FILE

IMAGES = 48
"""So many test images are looked at, from all sets."""

_SHARE = 1e-3  # of the spread of calibration scores; rounding is a thousand times less
_SHARE_ELSEWHERE = 2e-2  # of scores that a GPU made, with shorter numbers


@dataclass(frozen=True)
class Stored:
    """One detector's column of `scores.parquet`, float32, with the rows' images."""

    table: pa.Table
    scores: Floats

    @property
    def calibration(self) -> Floats:
        """Scores `[N]` of the calibration images."""
        return self.scores[self._of_calibration]

    @property
    def test_rows(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Numbers of the rows of test images."""
        return np.flatnonzero(~self._of_calibration)

    @property
    def _of_calibration(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.asarray(self.table["role"].to_numpy() == "calibration")


def stored_scores(folder: Path, detector: str) -> Stored:
    """Read what an audit stored of a detector; raises SpecError when it cannot be read."""
    try:
        with (folder / SCORES_FILE).open("rb") as file:
            table = pq.ParquetFile(file).read(["set", "role", "file", "sha256", detector])
        return Stored(table, table[detector].to_numpy().astype(np.float64))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise SpecError(f"{SCORES_FILE} of this run is damaged: run the audit again.") from error


def check(
    detect: Detect,
    audit: Reopened,
    detector: str,
    stored: Stored,
    threshold: float,
    on_progress: Callable[[Progress], None],
) -> Agreement:
    """Compare a program with what the audit stored of some test images.

    Where these are gone the audit, opened again, says what is right for random pixels. Raises
    GscError when the program gives other scores.
    """
    total = min(IMAGES, len(stored.test_rows))

    def compared(asked: Iterator[tuple[Tensor, float]]) -> list[tuple[float, float]]:
        pairs: list[tuple[float, float]] = []
        for image, right in asked:
            on_progress(Progress("comparing it with the audit", len(pairs), total))
            pairs.append((float(detect(image[None])[1]), right))
        return pairs

    tolerance = tolerance_of(audit, detector, stored)
    pairs = compared(test_images(audit, stored))
    against: Literal["stored scores", "reopened audit"]
    against = "stored scores" if pairs else "reopened audit"
    pairs = pairs or compared(noise(audit, detector))
    here, there = np.array(pairs, dtype=np.float64).T
    agreement = Agreement(
        against=against,
        pictures=len(pairs),
        largest_difference=float(np.abs(here - there).max()),
        tolerance=tolerance,
        decided_otherwise=int(np.count_nonzero((here > threshold) != (there > threshold))),
    )
    if not agreement.largest_difference <= tolerance:
        raise GscError(
            f"The exported {detector} does not give the audit's scores (it is off by up to "
            f"{agreement.largest_difference:.3g}), so nothing was written. The program or machine "
            "has "
            "changed since this audit: run it again and export the new run."
        )
    return agreement


def tolerance_of(audit: Reopened, detector: str, stored: Stored) -> float:
    """What scores may differ by and still be the same: little against how far they spread."""
    low, high = np.quantile(stored.calibration, [0.05, 0.95])
    on_cpu = RunDocument.read(audit.folder).provenance.device == "cpu"
    share = _SHARE if on_cpu else _SHARE_ELSEWHERE
    rounding = 1e-6 * float(np.abs(stored.calibration).max())
    tolerance = share * float(high - low) + rounding
    if isinstance(audit.detectors[detector], Ensemble):
        # one calibration score more or less below a part's own moves its rank by a whole step
        tolerance += 2 / len(stored.calibration)
    return tolerance


def test_images(audit: Reopened, stored: Stored) -> Iterator[tuple[Tensor, float]]:
    """Test images from all over, as they are decoded, with their stored scores."""
    rows, spec = stored.test_rows, audit.spec
    files = ImageFiles.of_sources(
        audit.folder, spec.id, spec.ood
    )  # no calibration image among these
    some = np.linspace(0, len(rows) - 1, min(IMAGES, len(rows)), dtype=int)
    for row in rows[some].tolist():
        one = {name: stored.table[name][row].as_py() for name in ("set", "role", "file", "sha256")}
        try:
            data = files.read(one["role"], one["set"], one["file"], one["sha256"])
        except GscError:  # it is gone, or has changed
            continue
        yield decode_bytes(data, one["file"]), float(stored.scores[row])


def noise(audit: Reopened, detector: str) -> Iterator[tuple[Tensor, float]]:
    """Random images uint8 `[3,H,W]` with the scores of the audit, opened again."""
    generator = torch.Generator().manual_seed(0)
    for side in (48, 96, 160, 224):
        image = torch.randint(0, 256, (3, side, 2 * side), dtype=torch.uint8, generator=generator)
        pixels = audit.classifier.preprocessing.resize_crop(image)
        batch = audit.scorer.represent(pixels[None])
        yield image, float(audit.detectors[detector].score(batch).float())
