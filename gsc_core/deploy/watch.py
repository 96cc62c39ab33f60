"""A watch over a deployed detector: is more outside now than calibration promised?

Each look scores the images that no earlier look has counted. What is said keeps its error rate
however often one looks; see `gsc_core.evaluation.sequential`.
"""

from __future__ import annotations

import heapq
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from gsc_core.deploy.watch_state import DIGITS, WatchState, held, keep_state, read_state
from gsc_core.errors import GscError, ImageError, SpecError
from gsc_core.evaluation.counts import in_1000, percent
from gsc_core.evaluation.sequential import Calibrated, log_evidence, risen, share_between
from gsc_core.evaluation.thresholds import parse_rule
from gsc_core.images import Broken, ImageFile, ImageSet, read_folder, read_images
from gsc_core.images.decode import decode
from gsc_core.progress import Progress
from gsc_core.scoring.loading import ahead

if TYPE_CHECKING:
    from gsc_core.deploy.card import DetectorCard
    from gsc_core.deploy.loading import Detect

OnProgress = Callable[[Progress], None]
LEAST_FAMILIAR = 5
_SAVE_EVERY_S = 30.0  # seconds: what a kill can cost; the images are then scored again
_AHEAD = 4  # images decoded before their turn


@dataclass(frozen=True)
class Scored:
    """One new image: its outlier score (higher = more likely OOD) and whether it is flagged.

    percentile: the share of calibration images that score at most as high, 0 to 100.
    """

    name: str
    score: float
    percentile: float
    flagged: bool


@dataclass
class Today:
    """What one look saw; `already` were counted by an earlier one."""

    already: int
    copies: int
    broken: list[Broken]
    seen: int = 0
    flagged: int = 0
    least_familiar: list[Scored] = field(default_factory=list)

    def add(self, scored: Scored) -> None:
        """Count an image."""
        self.seen += 1
        self.flagged += scored.flagged
        both = [*self.least_familiar, scored]
        self.least_familiar = heapq.nlargest(LEAST_FAMILIAR, both, key=lambda one: one.score)


@dataclass(frozen=True)
class Watched:
    """What a watch knows after a look: this look's counts, all counts, and what they mean.

    promised: calibration's upper bound of the share flagged, with a chance of 1 − alpha/2.
    low, high: of the new images' share, at all times at once with a chance of 1 − alpha.
    log_evidence: the most so far; the share has risen when it reached log(1/alpha), after
    `risen_at` images.
    """

    today: Today
    seen: int
    flagged: int
    calibrated: Calibrated
    alpha: float
    promised: float
    low: float
    high: float
    log_evidence: float
    risen_at: int | None

    @property
    def sentence(self) -> str:
        """The answer in plain words."""
        sure = f"{percent(1 - self.alpha / 2)} sure"
        counts = (
            f"of {self.seen:,} new {'image' if self.seen == 1 else 'images'} {self.flagged:,} "
            f"{'is' if self.flagged == 1 else 'are'} flagged, {in_1000(self.flagged / self.seen)} "
            "of 1,000; calibration promised at most "
            f"{in_1000(math.ceil(1000 * self.promised) / 1000)} of 1,000 ({sure})."
        )
        if self.risen_at is None:
            return f"No sign of a rise so far: {counts}"
        if self.flagged / self.seen > self.promised:
            since = f"It was clear after {self.risen_at:,} images."
            return f"The share of flagged images has risen: {counts} {since}"
        return (
            f"The share of flagged images had risen after {self.risen_at:,} images, and this "
            f"stands until a new watch is started. By now, {counts}"
        )


def look(
    program: Detect,
    card: DetectorCard,
    images: Path,
    state: Path,
    *,
    alpha: float = 0.05,
    on_progress: OnProgress = lambda _: None,
) -> Watched:
    """Count the new images of a folder, ZIP or file, in the order of their names.

    `state` is the JSON file that holds what earlier looks counted; a new one begins the watch, at
    this `alpha`. What was counted stays when the look is interrupted. Raises SpecError for a state
    that cannot be used or a detector that promises nothing, and ImageError when there is no image
    that can be scored.
    """
    if not 0 < alpha < 1:
        raise SpecError(f"--alpha {alpha:g} is a chance of error: give one between 0 and 1.")
    if card.in_sample:
        raise SpecError(
            "This detector has learned from the images that set its threshold, so calibration "
            "promised nothing to watch for: audit with more calibration images, then export."
        )
    calibrated = calibrated_by(card)
    if calibrated.most(alpha) >= 1:
        raise SpecError(
            "At this threshold, calibration leaves room for every familiar image to be flagged, "
            "so no rise can be seen: export the detector with a higher threshold."
        )
    with held(state), tempfile.TemporaryDirectory() as scratch:
        counted = read_state(state, card.program_sha256, alpha)
        image_set = _read_images(images, Path(scratch) / "pictures", on_progress)
        today = _counted(program, image_set, calibrated, counted, state, on_progress)
    return _watched(today, counted, calibrated)


def calibrated_by(card: DetectorCard) -> Calibrated:
    """What calibration says of the detector; a rule nobody can read is taken the careful way."""
    try:
        searched = parse_rule(card.rule).searched
    except GscError:
        searched = True
    return Calibrated(card.calibration_flagged, card.calibration, searched)


def _read_images(images: Path, scratch: Path, on_progress: OnProgress) -> ImageSet:
    if not images.is_dir():
        return read_images(images, images.name, scratch)

    def step(done: int, total: int) -> None:
        on_progress(Progress("reading images", done, total))

    return read_folder(images, images.name, on_count=step)


def _counted(
    program: Detect,
    image_set: ImageSet,
    calibrated: Calibrated,
    state: WatchState,
    path: Path,
    on_progress: OnProgress,
) -> Today:
    """Add the new images to `state`, which is kept now and then, and however this ends."""
    seen = set(state.pictures)
    new = [image for image in image_set.images if image.sha256[:DIGITS] not in seen]
    already = len(image_set) - len(new)
    today = Today(already, len(image_set.duplicates), list(image_set.broken))
    saved_at = time.monotonic()
    try:
        for done, (image, scored) in enumerate(_scored(program, new), 1):
            if isinstance(scored, Broken):
                today.broken.append(scored)
            else:
                today.add(scored)
                _count(state, image, scored, calibrated)
            on_progress(Progress("scoring new images", done, len(new)))
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                keep_state(path, state)
                saved_at = time.monotonic()
    finally:
        if today.seen:
            keep_state(path, state)
    if not state.seen:
        first = today.broken[0]
        raise ImageError(f"No image could be scored. The first: {first.name} {first.reason}")
    return today


def _count(state: WatchState, image: ImageFile, scored: Scored, calibrated: Calibrated) -> None:
    """One image more, and whether the evidence has now reached what it must."""
    state.pictures.append(image.sha256[:DIGITS])
    state.flagged += scored.flagged
    evidence = float(log_evidence(calibrated, state.flagged, state.seen, state.alpha))
    state.most = max(state.most, evidence)
    if state.risen_at is None and risen(evidence, state.alpha):
        state.risen_at = state.seen


def _scored(
    program: Detect, images: Sequence[ImageFile]
) -> Iterator[tuple[ImageFile, Scored | Broken]]:
    """Each image with its score, decoded while the one before it is scored."""

    def pixels(image: ImageFile) -> Tensor | Broken:
        try:
            return decode(image.path)
        except ImageError as error:
            return Broken(image.name, str(error).removeprefix(f"{image.path.name} "))

    for image, read in zip(images, ahead(pixels, images, 2, _AHEAD), strict=True):
        yield image, read if isinstance(read, Broken) else _score(program, image.name, read)


def _score(program: Detect, name: str, pixels: Tensor) -> Scored | Broken:
    try:
        _, score, percentile, flagged = program(pixels[None])
    except Exception:  # a graph has no room for such a shape, and raises anything then
        height, width = pixels.shape[1:]
        return Broken(name, f"cannot be scored by this detector: it has {width} × {height} pixels.")
    if not math.isfinite(float(score)):
        return Broken(name, "has a score that is not a finite number.")
    return Scored(name, float(score), float(percentile), bool(flagged))


def _watched(today: Today, state: WatchState, calibrated: Calibrated) -> Watched:
    low, high = share_between(state.flagged, state.seen, state.alpha)
    return Watched(
        today=today,
        seen=state.seen,
        flagged=state.flagged,
        calibrated=calibrated,
        alpha=state.alpha,
        promised=calibrated.most(state.alpha),
        low=low,
        high=high,
        log_evidence=state.most,
        risen_at=state.risen_at,
    )
