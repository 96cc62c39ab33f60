"""Many images at once against a finished audit: uploaded, judged by a worker, kept with the run."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from gsc_core.errors import GscError, ImageError
from gsc_core.files import written_aside
from gsc_core.images import ImageSet
from gsc_core.images.aside import folder_written_aside
from gsc_core.images.reading import read_archive, read_folder
from gsc_core.jobs import orders
from gsc_core.jobs.database import Job, Kind, new_id
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.run import decisions, gallery
from gsc_core.run.decisions import Decision
from gsc_core.run.placement import Placement, decided, place
from gsc_core.run.stored import Run
from gsc_core.sentences.csv_safety import harmless
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import explanations, image_results, usage
from gsc_core.workspace.uploads import is_archive, size_of, spool

MAX_IMAGES = 500
_UPLOAD, _IMAGES, _RESULT = "upload", "images", "judged.json"
_BOM = "\ufeff"  # by which Excel knows UTF-8


class TryManyOrder(JobOrder):
    """Which of the kept uploads to judge."""

    kind: ClassVar[Kind] = Kind.TRY_MANY
    try_id: str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Unread(_Part):
    """A file that could not be judged, and why."""

    name: str
    reason: str


class JudgedImage(_Part):
    """One image: its name in the upload, what the model says, its outlier scores by detector."""

    name: str
    predicted: int
    confidence: float
    scores: dict[str, float]


class TriedImages(_Part):
    """What a worker found of an upload, for a `version` of the run; copies were judged once."""

    version: int
    images: tuple[JudgedImage, ...]
    unread: tuple[Unread, ...] = ()
    duplicates: int = 0


class Verdict(_Part):
    """An image with its place among the run's by the decision as it is now; None without score."""

    image: JudgedImage
    place: Placement | None

    @property
    def word(self) -> str:
        """Whether it is flagged."""
        if self.place is None or self.place.threshold is None:
            return "undecided"
        return "flagged" if self.place.outside else "accepted"


def ask_many(run_id: str, files: Sequence[tuple[str, BinaryIO]]) -> str:
    """Keep a ZIP or several images beside the run and queue their judgement; the id of the try.

    Raises GscError for files that are neither, or a run that is not there.
    """
    person = acting.ensure(Action.ADD)
    packed = is_archive([name for name, _ in files])
    usage.ensure_room(person.name, sum(size_of(stream) for _, stream in files))
    run, try_id = image_results.loaded(run_id), new_id()
    explanations.make_room(run)
    with folder_written_aside(explanations.try_folder(run, try_id)) as part:
        spool(files, part / (_UPLOAD if packed else _IMAGES))
    called = files[0][0] if packed else f"{len(files):,} images"
    orders.submit(TryManyOrder(try_id=try_id), f"Try {called}", run_id)
    acting.record(Event.ADDED, "image", try_id, called)
    return try_id


def perform(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `TRY_MANY` job; see `tasks`. Images that cannot be read are listed."""
    run = image_results.loaded(job.subject)
    folder = explanations.try_folder(run, TryManyOrder.of(job).try_id)
    if not folder.is_dir():
        raise GscError("These images are no longer stored: drop them again.")
    try:
        images = _read(folder)
    except GscError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    audit = image_results.warm(run, on_progress)
    judged: list[JudgedImage] = []
    unread = [Unread(name=broken.name, reason=broken.reason) for broken in images.broken]
    for done, image in enumerate(images.images):
        on_progress(Progress("looking at the images", done, len(images)))
        try:
            seen = audit.look(image.path)
        except ImageError as error:
            unread.append(Unread(name=image.name, reason=str(error)))
            continue
        shares = seen.batch.logits[0].softmax(dim=0)
        judged.append(
            JudgedImage(
                name=image.name,
                predicted=int(shares.argmax()),
                confidence=float(shares.max()),
                scores=audit.score(seen),
            )
        )
    result = TriedImages(
        version=run.version,
        images=tuple(judged),
        unread=tuple(unread),
        duplicates=len(images.duplicates),
    )
    with written_aside(folder / _RESULT) as part:
        part.write_text(result.model_dump_json(), encoding="utf-8")


def tried_images(run_id: str, try_id: str) -> TriedImages | None:
    """What was found of an upload; None while it is waited for, and for one that is not kept."""
    run = image_results.loaded(run_id)
    try:
        text = (explanations.try_folder(run, try_id) / _RESULT).read_bytes()
        result = TriedImages.model_validate_json(text)
    except (OSError, ValidationError):
        return None
    return result if result.version == run.version else None


def image_file(run: Run, try_id: str, name: str) -> Path:
    """Where an image of an upload lies; raises GscError for a name that leads elsewhere."""
    root = explanations.try_folder(run, try_id) / _IMAGES
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise GscError("There is no such tried image: drop it again.")
    return path


def waiting_files(run: Run, try_id: str, most: int) -> tuple[Path, ...]:
    """Some of the images of an upload, to show while it is judged; none before it is unpacked."""
    root = explanations.try_folder(run, try_id) / _IMAGES
    return tuple(sorted(path for path in root.rglob("*") if path.is_file())[:most])


def verdicts(run: Run, tried: TriedImages) -> tuple[Verdict, ...]:
    """Each image's place by the run's decision, the least familiar first, without score last."""
    decision = decisions.current(run)
    every = (Verdict(image=image, place=_place(run, image, decision)) for image in tried.images)
    return tuple(sorted(every, key=lambda one: -one.place.score if one.place else math.inf))


def as_csv(run: Run, tried: TriedImages) -> bytes:
    """One row an image, the least familiar first, with the decision and every detector's score.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    heads = ("file", "decision", "predicted", "confidence", "familiar images that score no higher")
    writer.writerow([*heads, *_safe(run.detectors)])
    for one in verdicts(run, tried):
        named = _safe((one.image.name, one.word, gallery.class_name(run, one.image.predicted)))
        percentile = "" if one.place is None else f"{one.place.percentile:.1f} %"
        scores = [_figure(one.image.scores.get(name)) for name in run.detectors]
        writer.writerow([*named, _figure(one.image.confidence), percentile, *scores])
    return (_BOM + sheet.getvalue()).encode()


def _read(folder: Path) -> ImageSet:
    """The images of an upload, unpacked where it is a ZIP."""
    images, upload = folder / _IMAGES, folder / _UPLOAD
    if upload.is_dir():
        (archive,) = upload.iterdir()
        shutil.rmtree(images, ignore_errors=True)  # of a worker that was killed
        members = read_archive(archive, archive.name, images)
        shutil.rmtree(upload)
    else:
        members = read_folder(images, "this upload")
    if len(members) > MAX_IMAGES:
        raise GscError(
            f"These are {len(members):,} images, and {MAX_IMAGES} can be tried at once: make an "
            "image set of them and audit that, or try fewer."
        )
    return members


def _place(run: Run, image: JudgedImage, decision: Decision) -> Placement | None:
    score = image.scores.get(decision.detector)
    if score is None:
        return None
    return decided(place(run, decision.detector, score), decision)


def _figure(value: float | None) -> str:
    """Six digits; nothing where a detector gave no number."""
    return "" if value is None else f"{value:.6g}"


def _safe(texts: Sequence[str]) -> list[str]:
    """Texts for the cells of a spreadsheet."""
    return [str(text) for text in harmless(pa.array(texts, pa.string())).to_pylist()]
