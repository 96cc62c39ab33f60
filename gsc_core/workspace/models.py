"""Classifiers that were added: their files, what was found in them.

A file lies at `models/<sha256>/<name>`, so the same file twice is kept once. It is never opened by
who adds it: a worker looks at it, in a process of its own.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO, ClassVar

from pydantic import ValidationError
from sqlmodel import col, select

from gsc_core.audit.answers import answered_of_model
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.classifier.metadata import MAX_LIST_BYTES
from gsc_core.errors import GscError
from gsc_core.errors.questions import Answer
from gsc_core.files import writing_to, written_aside
from gsc_core.jobs import orders
from gsc_core.jobs.database import Deleted, Job, Kind, Readiness, StoredModel, session
from gsc_core.jobs.home import home
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import imagesets, trash, usage
from gsc_core.workspace.model_facts import (
    CHECKED_IMAGES,
    ModelFacts,
    Prediction,
    SplitFacts,
)
from gsc_core.workspace.references import jobs_with_model
from gsc_core.workspace.uploads import size_of

# What training leaves is called by many names (.pth.tar, .ckpt of Lightning, .bin of Hugging Face);
# what a file truly is, its content says.
SUFFIXES = (".pt2", ".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".bin", ".zip")
LONGEST_NAME = 80
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
_MOST_BYTES = 100  # of a file's name
_BLOCK = 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelOrder(JobOrder):
    """The model's record says everything."""

    kind: ClassVar[Kind] = Kind.MODEL


def add_model(
    file: BinaryIO,
    file_name: str,
    *,
    name: str,
    architecture: str | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
    weights: str | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: BinaryIO | None = None,
) -> StoredModel:
    """Keep a model file and queue a look at it.

    Args:
        file: read once, to its end, block by block.
        file_name: as the uploader's machine calls it; only a harmless part is kept.
        name: what to call the model, 1 to 80 printable characters.
        architecture: needed for weights, as `ModelSpec` takes it.
        options: of the architecture's constructor.
        weights: which ones where a file holds several, as `ModelSpec` takes it.
        preprocessing: None takes the file's own, or the usual one as an assumption.
        class_names: text or JSON, as `read_class_names` takes it.

    Raises GscError when the name or the kind of file cannot be used, or the disk refuses.
    """
    person = acting.ensure(Action.ADD)
    name, stored_as = _checked(name), safe_name(file_name)
    if PurePosixPath(stored_as).suffix.lower() not in SUFFIXES:
        raise GscError(
            f"{stored_as} is not a model file: choose one that ends in {_any(SUFFIXES)}."
        )
    usage.ensure_room(person.name, size_of(file))
    path = _keep(file, stored_as)
    spec = ModelSpec(
        checkpoint=path,
        architecture=architecture or None,
        options=dict(options),
        weights=weights or None,
        preprocessing=preprocessing,
        class_names=None if class_names is None else _keep_class_names(class_names, path.parent),
    )
    stored = StoredModel(name=name, spec=spec.model_dump(mode="json"), owner=person.name)
    with session() as db:  # both or neither: a model without its job would wait for ever
        db.add(stored)
        _submit(stored)
        acting.record(Event.ADDED, trash.MODEL, stored.id, name, stored_as)
    return stored


def list_models() -> list[StoredModel]:
    """All records, the newest first."""
    with session() as db:
        return list(db.exec(select(StoredModel).order_by(col(StoredModel.created).desc())))


def model(model_id: str) -> StoredModel:
    """The record of that id; raises GscError when there is none."""
    with session() as db:
        stored = db.get(StoredModel, model_id)
    if stored is None:
        raise GscError("This model no longer exists: choose one from the list.")
    return stored


def rename_model(model_id: str, name: str) -> None:
    """Call it something else."""
    stored = _changeable(model_id)
    name = _checked(name)
    acting.record(Event.CHANGED, trash.MODEL, stored.id, stored.name, f"now called {name}")
    _update(stored, name=name)


def revise_model(
    model_id: str,
    *,
    architecture: str | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
    weights: str | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: BinaryIO | None = None,
) -> Job:
    """Change how a model is loaded and queue another look; class names stay when none are given."""
    stored = _changeable(model_id)
    spec = spec_of(stored)
    changes: dict[str, Any] = {
        "architecture": architecture or None,
        "options": dict(options),
        "weights": weights or None,
        "preprocessing": preprocessing,
    }
    if class_names is not None and spec.checkpoint is not None:
        changes["class_names"] = _keep_class_names(class_names, spec.checkpoint.parent)
    return _look_anew(stored, spec.model_copy(update=changes))


def name_classes(model_id: str, class_names: BinaryIO) -> Job:
    """Give a model class names, all else as it is, and queue another look."""
    stored = _changeable(model_id)
    spec = spec_of(stored)
    if spec.checkpoint is None:
        raise GscError("This model has no file of its own: its names come with it.")
    path = _keep_class_names(class_names, spec.checkpoint.parent)
    return _look_anew(stored, spec.model_copy(update={"class_names": path}))


def answer_model(model_id: str, answer: Answer) -> Job:
    """Load a model as a question about it was answered, and queue another look."""
    stored = _changeable(model_id)
    return _look_anew(stored, answered_of_model(spec_of(stored), answer))


def delete_model(model_id: str) -> None:
    """Put a model into the trash; its files go with it, unless another record is of the same file.

    Raises GscError while a job that waits or runs uses it, and for who may not.
    """
    stored = model(model_id)
    acting.ensure(Action.DELETE, stored.owner)
    with session() as db:  # held, so that nobody asks for work with it meanwhile
        if jobs := jobs_with_model(stored):
            raise GscError(
                f"{stored.name} is in use by “{jobs[0].title}”: wait until it ends, or cancel it "
                "first."
            )
        entry = Deleted(what=trash.MODEL, subject=stored.id, name=stored.name, owner=stored.owner)
        of_model = db.exec(select(Job).where(Job.subject == stored.id)).all()
        trash.put(db, entry, [stored, *of_model], _folder(stored))


def spec_of(stored: StoredModel) -> ModelSpec:
    """How to load a model; raises GscError when its files are gone or the record is damaged."""
    try:
        spec = ModelSpec.model_validate(stored.spec)
    except ValidationError as error:
        raise GscError(f"The record of {stored.name} is damaged: upload it again.") from error
    for path in (spec.checkpoint, spec.class_names):
        if isinstance(path, Path) and not path.is_file():
            raise GscError(
                f"The file {path.name} of {stored.name} is gone from the workspace: delete this "
                "model and upload it again."
            )
    return spec


def facts_of(stored: StoredModel) -> ModelFacts:
    """What was found in a model that is ready; raises GscError for one that is not."""
    if stored.readiness is not Readiness.READY:
        raise GscError(f"{stored.name} is not ready: the Models page says why.")
    try:
        return ModelFacts.model_validate(stored.facts)
    except ValidationError as error:
        raise GscError(f"The record of {stored.name} is damaged: check it again.") from error


def look(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `MODEL` job; see `tasks`.

    The record becomes ready, or refused with the sentence: that is an answer and no failure.
    """
    from gsc_core.workspace.model_check import examine  # noqa: PLC0415 - heavy

    with session() as db:
        stored = db.get(StoredModel, job.subject)
    if stored is None:
        return  # deleted meanwhile
    changes: dict[str, Any]
    try:
        facts = examine(spec_of(stored), _familiar_images(), on_progress)
        changes = {"readiness": Readiness.READY, "facts": facts.model_dump(mode="json")}
    except GscError as error:
        asked = error.question and error.question.model_dump(mode="json")
        changes = {"readiness": Readiness.REFUSED, "sentence": str(error), "facts": {}}
        changes["question"] = asked
    with session() as db:
        fresh = db.get(StoredModel, stored.id)
        # Else it was deleted, or revised, and a newer look follows.
        if fresh is not None and fresh.spec == stored.spec:
            db.add(fresh.sqlmodel_update({"sentence": None, "question": None} | changes))


def safe_name(file_name: str) -> str:
    """The last part of an uploaded file's name, made harmless, at most 100 bytes."""
    base = re.split(r"[/\\]", file_name)[-1]
    harmless = re.sub(r"[^\w.-]", "_", base).lstrip(".")
    stem, dot, suffix = harmless.rpartition(".")
    suffix = (dot + suffix).encode()[-16:].decode(errors="ignore")
    stem = stem.encode()[: _MOST_BYTES - len(suffix.encode())].decode(errors="ignore")
    return (stem or "model") + suffix


def _checked(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise GscError(f"Give the model a name of 1 to {LONGEST_NAME} printable characters.")
    return name


def _any(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _keep(file: BinaryIO, stored_as: str) -> Path:
    """Copy a stream into the folder of its digest."""
    folder = home() / "models"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
        try:
            digest = _copied(file, aside / stored_as)
            path = folder / digest / stored_as
            path.parent.mkdir(exist_ok=True)
            (aside / stored_as).replace(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return path


def _copied(file: BinaryIO, path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as copy:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += copy.write(block)
    if not size:
        raise GscError(f"{path.name} is empty: copy or save it again.")
    return digest.hexdigest()


def _keep_class_names(file: BinaryIO, folder: Path) -> Path:
    """Beside the model, under the digest of its content; JSON is known by the uploaded name."""
    said = str(getattr(file, "name", ""))
    content = file.read(MAX_LIST_BYTES + 1)
    if len(content) > MAX_LIST_BYTES:
        raise GscError("The file of class names is too large: give one name a line.")
    suffix = ".json" if said.lower().endswith(".json") else ".txt"
    path = folder / f"classes-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
    with written_aside(path) as part:
        part.write_bytes(content)
    return path


def _changeable(model_id: str) -> StoredModel:
    stored = model(model_id)
    acting.ensure(Action.CHANGE, stored.owner)
    return stored


def _look_anew(stored: StoredModel, spec: ModelSpec) -> Job:
    with session():
        _update(
            stored,
            spec=spec.model_dump(mode="json"),
            readiness=Readiness.WAITING,
            sentence=None,
            question=None,
            facts={},
        )
        return _submit(stored)


def _submit(stored: StoredModel) -> Job:
    return orders.submit(ModelOrder(), f"Check of {stored.name}", stored.id)


def _update(stored: StoredModel, **values: Any) -> None:
    """Set some fields of a record, if it is still there."""
    with session() as db:
        fresh = db.get(StoredModel, stored.id)
        if fresh is not None:
            db.add(fresh.sqlmodel_update(values))


def _folder(stored: StoredModel) -> Path | None:
    """The folder `_keep` made for its file and lists of classes; None when it lies elsewhere."""
    folder = Path(stored.spec.get("checkpoint") or "").parent
    own = folder.parent == home() / "models" and _DIGEST.fullmatch(folder.name)
    return folder if own else None


def _familiar_images() -> list[Path]:
    """Some images from all over the newest set of familiar ones; none where that is lost."""
    ready = (stored for stored in imagesets.list_sets("id") if stored.readiness is Readiness.READY)
    newest = next(ready, None)
    if newest is None:
        return []
    count = min(newest.images, CHECKED_IMAGES)
    places = [at * newest.images // count for at in range(count)]
    try:
        return [one.path for at in places for one in imagesets.members(newest, at, 1)]
    except GscError:  # which is said where the set is shown, and is not a fault of the model
        return []


__all__ = [
    "ModelFacts",
    "Prediction",
    "SplitFacts",
    "add_model",
    "answer_model",
    "delete_model",
    "facts_of",
    "list_models",
    "look",
    "model",
    "rename_model",
    "revise_model",
    "spec_of",
]
