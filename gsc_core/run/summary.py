"""What pages show of all scores at once, counted at the end of a large audit and stored beside it.

Of millions of images it takes a page half a minute. What is stored is what would be counted: a run
without it, of marked images or with other scores is counted anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.evaluation.intervals import MEAN
from gsc_core.files import written_aside
from gsc_core.run.layout import SCORES_FILE, SUMMARY_FILE
from gsc_core.run.stored import Run

SUMMARISED_FROM = 200_000
"""Images from which an audit stores it: fewer are counted in a second."""


@dataclass(frozen=True)
class Candidate:
    """A detector on the images to choose by: each metric, 0 to 1, by OOD set and of their `"mean"`.

    inverted: OOD images of this half, or surrogate outliers, score lower than calibration images.
    """

    detector: str
    by_set: Mapping[str, Mapping[str, float]]
    inverted: bool

    @property
    def rank(self) -> tuple[bool, float, float, str]:
        """The lowest FPR95 comes first, then the highest AUROC; inverted ones are last."""
        mean = self.by_set[MEAN]
        return self.inverted, mean["fpr95"], -mean["auroc"], self.detector


class Summary(BaseModel):
    """What a run's file of it holds.

    Attributes:
        scores_bytes: size of the scores that it was counted from.
        candidates: of `picking.candidates`; none where the sets are too small for halves.
        level: of `winners.Winner`, by metric and OOD set.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    scores_bytes: int
    candidates: tuple[Candidate, ...]
    level: Mapping[str, Mapping[str, tuple[str, ...] | None]]

    @classmethod
    def of(cls, run: Run) -> Summary | None:
        """That of a run as it was audited; None where there is none, or of other scores."""
        if run.revision is not None:
            return None
        try:
            stored = cls.model_validate_json((run.path / SUMMARY_FILE).read_bytes())
            size = (run.path / SCORES_FILE).stat().st_size
        except (OSError, ValidationError):  # it can be counted again
            return None
        return stored if stored.scores_bytes == size else None

    def write(self, run: Run) -> None:
        """Put it beside the run."""
        with written_aside(run.path / SUMMARY_FILE) as part:
            part.write_text(self.model_dump_json(), encoding="utf-8")
