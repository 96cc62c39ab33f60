"""One image judged by a run's detectors and explained: looked at by a worker, read by a page."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.errors import SpecError
from gsc_core.explanation import Explanation, crop_jpeg, heat_png
from gsc_core.files import written_aside
from gsc_core.run import decisions
from gsc_core.run.decisions import Decision
from gsc_core.run.placement import Placement, decided, place
from gsc_core.run.stored import Run

if TYPE_CHECKING:
    from gsc_core.audit.reopen import Reopened, Seen

NEAREST = 8
_FOUND, _CROP, _HEAT = "found.json", "crop.jpg", "heat.png"


class Near(BaseModel):
    """A calibration image like the one looked at: its row in `scores.parquet`, its file, and the
    cosine similarity, −1 to 1.
    """

    model_config = ConfigDict(frozen=True)

    row: int
    file: str
    similarity: float


class Found(BaseModel):
    """What the worker saves, for a `version` of the run (`runs.version`).

    `explanation` is None, with the reason, where the network cannot be cut.
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


class Judged(Found):
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
        return next((each for each in self.places if each.detector == self.decision.detector), None)


J = TypeVar("J", bound=Judged)


@lru_cache(maxsize=1)
def opened(folder: Path, version: int) -> Reopened:
    """The audit that was asked about last, kept warm in the worker's process."""
    from gsc_core.audit.reopen import reopen  # noqa: PLC0415 - heavy

    return reopen(folder)


def judge(
    run: Run, audit: Reopened, seen: Seen, name: str, scores: dict[str, float], detector: str
) -> Found:
    """Placement an image's `scores` among the run's, and explain it by a GSC `detector`."""
    explanation, unexplained = None, None
    try:
        explanation = audit.explain(seen, detector)
    except SpecError as reason:
        unexplained = str(reason)
    probabilities = seen.batch.logits[0].softmax(dim=0)
    near = audit.nearest(seen, NEAREST)
    return Found(
        version=run.version,
        name=name,
        predicted=int(probabilities.argmax()),
        confidence=float(probabilities.max()),
        places=tuple(place(run, each, scores[each]) for each in run.detectors if each in scores),
        nearest=tuple(Near(row=n.row, file=n.name, similarity=n.similarity) for n in near),
        explanation=explanation,
        unexplained=unexplained,
    )


def write(folder: Path, found: Found, seen: Seen) -> None:
    """Write the images, and last the document, which shows `read` that all is there."""
    pictures = {_CROP: crop_jpeg(seen.pixels)}
    if found.explanation is not None and found.explanation.heat is not None:
        height, width = seen.pixels.shape[-2:]
        pictures[_HEAT] = heat_png(found.explanation.heat, (height, width))
    for name, content in pictures.items():
        with written_aside(folder / name) as part:
            part.write_bytes(content)
    with written_aside(folder / _FOUND) as part:
        part.write_text(found.model_dump_json(), encoding="utf-8")


def read(run: Run, folder: Path, kind: type[J], **more: Any) -> J | None:
    """What `write` left, as a `kind` of Judged with `more` fields.

    None when there is nothing, it cannot be read, or the run was audited again since.
    """
    try:
        stored = json.loads((folder / _FOUND).read_bytes())
        found = Found.model_validate(stored)
    except (OSError, ValueError, ValidationError):
        return None
    if found.version != run.version:
        return None
    decision = decisions.current(run)
    heat = folder / _HEAT
    told = {
        "places": tuple(decided(each, decision) for each in found.places),
        "crop": folder / _CROP,
        "heat": heat if heat.is_file() else None,
        "decision": decision,
    }
    return kind(**dict(found) | told | more)
