"""One image judged by a run's detectors and explained: looked at by a worker, read by a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.errors import SpecError
from gsc_core.explanation import DepthReading, Explanation, crop_jpeg, heat_png
from gsc_core.files import written_aside
from gsc_core.progress import Progress
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.placement import Placement, decided, place
from gsc_core.run.stored import Run, version_of
from gsc_core.workspace import runs

if TYPE_CHECKING:
    from gsc_core.audit.reopen import Reopened, Seen

NEAREST = 8
_RESULT_FILE, _CROP, _HEAT = "found.json", "crop.jpg", "heat.png"


class Near(BaseModel):
    """A calibration image like the one looked at: its row in `scores.parquet`, its file, and the
    cosine similarity, −1 to 1.
    """

    model_config = ConfigDict(frozen=True)

    row: int
    file: str
    similarity: float


class ImageResult(BaseModel):
    """What the worker saves, for a `version` of the run (`runs.version`).

    `explanation` is None, with the reason, where the network cannot be cut. `depths` is empty where
    the run has no layer profile, or an earlier version judged the image.
    """

    model_config = ConfigDict(frozen=True)

    version: int
    name: str
    predicted: int
    confidence: float
    places: tuple[Placement, ...]
    nearest: tuple[Near, ...]
    explanation: Explanation | None
    unexplained: str | None
    depths: tuple[DepthReading, ...] = ()


class Judged(ImageResult):
    """What a page reads: with the images, and by the run's decision as it is now.

    `crop` is the image as the model saw it (JPEG), `heat` a PNG of the same size to lay over it,
    None where there is no place to show.
    """

    crop: Path
    heat: Path | None
    decision: Decision

    @property
    def verdict(self) -> Placement | None:
        """The deciding detector's place; None when it gave no number for this image."""
        return next(
            (
                placement
                for placement in self.places
                if placement.detector == self.decision.detector
            ),
            None,
        )


J = TypeVar("J", bound=Judged)


def loaded(run_id: str) -> Run:
    """A run of the workspace, read once for each version of it."""
    folder = runs.run_folder(run_id)
    return _loaded(folder, version_of(folder))


@lru_cache(maxsize=8)
def _loaded(folder: Path, version: int) -> Run:
    return Run.load(folder)


def warm(run: Run, on_progress: Callable[[Progress], None]) -> Reopened:
    """The run's audit, opened for this and the next images."""
    on_progress(Progress("opening the audit", 0, 1))
    return opened(run.path, run.version)


@lru_cache(maxsize=1)
def opened(folder: Path, version: int) -> Reopened:
    """The audit that was asked about last, kept warm in the worker's process."""
    from gsc_core.audit.reopen import reopen  # noqa: PLC0415 - heavy

    return reopen(folder)


def judge(
    run: Run,
    audit: Reopened,
    seen: Seen,
    name: str,
    scores: dict[str, float],
    detector: str,
    calibration_row: int | None = None,
) -> ImageResult:
    """Place an image's `scores` among the run's, and explain it by a GSC `detector`.

    `calibration_row` is the row of an image that the audit calibrated on.
    """
    explanation, unexplained = None, None
    try:
        explanation = audit.explain(seen, detector)
    except SpecError as reason:
        unexplained = str(reason)
    probabilities = seen.batch.logits[0].softmax(dim=0)
    near = audit.nearest(seen, NEAREST)
    return ImageResult(
        version=run.version,
        name=name,
        predicted=int(probabilities.argmax()),
        confidence=float(probabilities.max()),
        places=tuple(
            place(run, detector_name, scores[detector_name])
            for detector_name in run.detectors
            if detector_name in scores
        ),
        nearest=tuple(Near(row=n.row, file=n.name, similarity=n.similarity) for n in near),
        explanation=explanation,
        unexplained=unexplained,
        depths=audit.depths(seen, calibration_row),
    )


def write(folder: Path, result: ImageResult, seen: Seen) -> None:
    """Write the images, and last the document, which shows `read` that all is there."""
    files = {_CROP: crop_jpeg(seen.pixels)}
    if result.explanation is not None and result.explanation.heat is not None:
        height, width = seen.pixels.shape[-2:]
        files[_HEAT] = heat_png(result.explanation.heat, (height, width))
    for name, content in files.items():
        with written_aside(folder / name) as part:
            part.write_bytes(content)
    with written_aside(folder / _RESULT_FILE) as part:
        part.write_text(result.model_dump_json(), encoding="utf-8")


def read(run: Run, folder: Path, kind: type[J], **more: Any) -> J | None:
    """What `write` left, as a `kind` of Judged with `more` fields.

    None when there is nothing, it cannot be read, or the run was audited again since.
    """
    try:
        stored = json.loads((folder / _RESULT_FILE).read_bytes())
        result = ImageResult.model_validate(stored)
    except (OSError, ValueError, ValidationError):
        return None
    if result.version != run.version:
        return None
    decision = decisions.current(run)
    heat = folder / _HEAT
    now = {
        "places": tuple(decided(placement, decision) for placement in result.places),
        "crop": folder / _CROP,
        "heat": heat if heat.is_file() else None,
        "decision": decision,
    }
    return kind(**dict(result) | now | more)
