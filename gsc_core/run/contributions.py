"""What each part of a fused score adds to it, for one image."""

from __future__ import annotations

from typing import NamedTuple

from gsc_core.run.stored import Run


class Contribution(NamedTuple):
    """What a detector adds to a fused score; 0 is usual for a familiar image, more is stranger."""

    detector: str
    added: float


def contributions(run: Run, fused: str, row: int) -> tuple[Contribution, ...]:
    """The parts of a fused score of the image in this row, the largest first.

    Their sum is the score, but for calibration images, which are scored by weights learned without
    them. Empty where the detector weighs none, or an earlier version made the run.
    """
    score = run.document.fusions.get(fused)
    if score is None:
        return ()
    parts = (
        Contribution(
            part.detector,
            part.weight * (float(run.column(part.detector)[row]) - part.middle) / part.spread,
        )
        for part in score.parts
    )
    return tuple(sorted(parts, key=lambda part: -part.added))
