"""Sets of images that were added: records, files, and the jobs that read them.

A set has a folder `home()/imagesets/<id>`: what was uploaded until it is read, the images where
the workspace keeps them itself, and `set_tables`.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from pydantic import AliasChoices, Field
from sqlmodel import col, select

from gsc_core.audit.spec import MAX_BYTES, MAX_CHARACTERS, RESERVED
from gsc_core.errors import GscError
from gsc_core.errors.questions import Answer, Setting
from gsc_core.evaluation.counts import number_of
from gsc_core.files import is_full
from gsc_core.images import ImageSet, read_archive, read_folder
from gsc_core.images.archive import Limits
from gsc_core.images.aside import folder_written_aside
from gsc_core.images.labels import labels_from
from gsc_core.images.reading import read_listing
from gsc_core.images.sources.listing import is_listing
from gsc_core.images.sources.uri import Uri, source_of
from gsc_core.images.surrogate_kinds import SURROGATE_KINDS
from gsc_core.jobs import orders, queue
from gsc_core.jobs.configuration import MB, configuration
from gsc_core.jobs.database import Deleted, Job, Kind, Readiness, StoredSet, new_id, session
from gsc_core.jobs.orders import JobOrder
from gsc_core.progress import Progress
from gsc_core.team import acting
from gsc_core.team.journal import Event
from gsc_core.team.roles import Action
from gsc_core.workspace import set_tables, trash, usage
from gsc_core.workspace.references import jobs_with_set, runs_with
from gsc_core.workspace.server_folders import allowed_addresses, folder_below, folders
from gsc_core.workspace.set_tables import members, tables_folder
from gsc_core.workspace.uploads import is_archive, size_of, spool

ROLES = ("id", "ood", "calibration")
MAX_SURROGATES = 1000  # images that surrogate images are made from
_READING = (Kind.SET, Kind.SURROGATES, Kind.REMAINDER)
_UPLOAD, _IMAGES = "upload", "pictures"


class SetOrder(JobOrder):
    """The set's record says everything."""

    kind: ClassVar[Kind] = Kind.SET


class SurrogatesOrder(JobOrder):
    """From which set to make surrogates, and of which kind; see `SURROGATE_KINDS`."""

    kind: ClassVar[Kind] = Kind.SURROGATES
    source: str
    surrogate: str = Field(
        validation_alias=AliasChoices("kind", "surrogate"), serialization_alias="kind"
    )


def add_upload(files: Sequence[tuple[str, BinaryIO]], *, name: str, role: str) -> StoredSet:
    """Keep an uploaded ZIP, or images (with a CSV table of labels, if any), and have them read.

    `files` are file names and streams, which are copied to disk piece by piece. Raises GscError
    when the name or the files cannot be taken; what is inside them is judged by the worker.
    """
    person = acting.ensure(Action.ADD)
    packed = is_archive([file for file, _ in files])
    name = checked_name(name, role)
    usage.ensure_room(person.name, sum(size_of(stream) for _, stream in files))
    stored = new_set(name, role, "a ZIP" if packed else number_of(len(files), "uploaded file"))
    with folder_written_aside(tables_folder(stored.id)) as part:
        spool(files, part / (_UPLOAD if packed else _IMAGES))
    return _add(stored)


def add_folder(relative: str, *, name: str, role: str) -> StoredSet:
    """Have a folder below GSC_IMAGE_ROOT read where it lies; nothing is copied, nothing deleted.

    Raises GscError when the name cannot be taken, or the folder is not below the allowed directory.
    """
    acting.ensure(Action.ADD)
    folder = folder_below(relative)
    return register(folder, name=name, role=role, origin=f"the server folder {relative}")


def add_address(address: str, *, name: str, role: str) -> StoredSet:
    """Have the images at an address read where they lie: a prefix, manifest, shards or table.

    Raises GscError when the name cannot be taken, or the operator did not allow the address.
    """
    acting.ensure(Action.ADD)
    source = source_of(address.strip())
    if not isinstance(source, Uri):
        raise GscError("That is not the address of a bucket: write one such as s3://bucket/photos.")
    allowed_addresses().require([source])
    name = checked_name(name, role)
    origin = f"the address {source}"
    return _add(StoredSet(name=name, role=role, folder=str(source), origin=origin, owned=False))


def register(folder: Path, *, name: str, role: str, origin: str) -> StoredSet:
    """Have any folder read where it lies; for callers that may read the whole disk."""
    name = checked_name(name, role)
    return _add(StoredSet(name=name, role=role, folder=str(folder), origin=origin, owned=False))


def submit_surrogates(set_id: str, kinds: Sequence[str], name: str = "") -> list[StoredSet]:
    """Have surrogate outliers made of a set's images: a new OOD set for each kind.

    They are called `name: kind`, `name` being that of the set unless given. Raises GscError when
    the set or a kind is unknown, the set is not ready, or none is chosen.
    """
    acting.ensure(Action.ADD)
    source = image_set(set_id)
    available = {kind.name for kind in SURROGATE_KINDS}
    if not kinds or set(kinds) - available:
        raise GscError(f"Choose which surrogate images to make: {', '.join(sorted(available))}.")
    if is_listing(source_of(source.folder)):
        raise GscError(
            "Surrogate images are made from images stored on this server: upload some of the set."
        )
    if source.readiness is not Readiness.READY:
        raise GscError("The set has not been read yet: wait until it is ready.")
    return [_submit_kind(source, kind, name or source.name) for kind in kinds]


def list_sets(*roles: str) -> list[StoredSet]:
    """The sets added for these roles (all by default), the newest first."""
    query = select(StoredSet).where(col(StoredSet.role).in_(roles or ROLES))
    with session() as db:
        return list(db.exec(query.order_by(col(StoredSet.created).desc())))


def image_set(set_id: str) -> StoredSet:
    """The set of that id; raises GscError when there is none."""
    with session() as db:
        stored = db.get(StoredSet, set_id)
    if stored is None:
        raise GscError("This image set no longer exists: choose one from the list.")
    return stored


def rename_set(set_id: str, name: str) -> None:
    """Rename a set; raises GscError as when it is added."""
    stored = _changeable(set_id)
    name = checked_name(name, stored.role, set_id)
    acting.record(Event.CHANGED, trash.SET, set_id, stored.name, f"now called {name}")
    _change(set_id, name=name)


def change_role(set_id: str, role: str) -> None:
    """Use a set for another purpose; raises GscError when another of that role has its name."""
    stored = _changeable(set_id)
    checked_name(stored.name, role, set_id)
    acting.record(Event.CHANGED, trash.SET, set_id, stored.name, f"now for {role}")
    _change(set_id, role=role)


def look_again(set_id: str) -> None:
    """Have a set read once more, after its folder changed or its job failed."""
    stored = image_set(set_id)
    acting.ensure(Action.CHANGE, stored.owner)
    with session():
        last = queue.latest(set_id, *_READING)
        if last is not None and last.state in queue.WAITING:
            return
        _change(set_id, readiness=Readiness.WAITING, sentence=None, question=None)
        if last is None:
            orders.submit(SetOrder(), f"Reading {stored.name}", set_id)
        else:
            queue.retry(last.id)


def answer_set(set_id: str, answer: Answer) -> None:
    """Have a set that was refused with a question read as it was answered."""
    stored = _changeable(set_id)
    for choice in answer.choices:
        match choice.setting:
            case Setting.LABELS if choice.value == "folders":
                _change(set_id, labels_from=choice.value)
            case Setting.LABELS:
                _change(set_id, labels_from=str(Path(stored.folder, choice.value)))
            case Setting.PART:
                _change(set_id, folder=str(Path(stored.folder, choice.value)))
    look_again(set_id)


def delete_set(set_id: str) -> None:
    """Put a set into the trash, with its files where the workspace keeps them.

    A folder of the server is left alone. Raises GscError while a job works with the set, and for
    who may not.
    """
    stored = image_set(set_id)
    acting.ensure(Action.DELETE, stored.owner)
    with session() as db:  # held, so that nobody asks for work with it meanwhile
        if jobs := jobs_with_set(stored):
            raise GscError(
                f'The set is used by "{jobs[0].title}": wait until it ends, or cancel it.'
            )
        entry = Deleted(what=trash.SET, subject=set_id, name=stored.name, owner=stored.owner)
        of_set = db.exec(select(Job).where(Job.subject == set_id)).all()
        trash.put(db, entry, [stored, *of_set], tables_folder(set_id))


def look(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `SET` job: unpack, read and list the images; see `tasks`.

    What cannot be used is refused: the record says why, and the files are removed, unless that is a
    question. After a kill, or when the disk was full (GscError), it starts again from what was
    uploaded.
    """
    finish(job, lambda stored: _images_in(stored, counting(on_progress, "reading the images")))


def make_surrogates(job: Job, on_progress: Callable[[Progress], None]) -> None:
    """The work of a `SURROGATES` job: surrogates of one kind as a set of their own; see `tasks`."""
    order = SurrogatesOrder.of(job)
    finish(
        job,
        lambda stored: _surrogates(stored, order, counting(on_progress, "making surrogate images")),
    )


def finish(job: Job, read: Callable[[StoredSet], ImageSet]) -> None:
    """End a job that makes or reads a set: list what `read` gives, or say why it is refused.

    Raises GscError when the disk was full, which says nothing about the set.
    """
    with session() as db:
        stored = db.get(StoredSet, job.subject)
    if stored is None:
        return  # deleted meanwhile
    own = tables_folder(stored.id)
    try:
        images = read(stored)
        if stored.role != "ood":  # of unfamiliar images labels are not used
            images.with_sure_labels()
        usage.ensure_room(stored.owner)  # a ZIP is larger when it is unpacked
        set_tables.write(stored, images)
    except GscError as error:
        if is_full(error.__cause__):
            raise  # it says nothing about the set: what was uploaded is kept for another try
        refused: dict[str, Any] = {"readiness": Readiness.REFUSED, "sentence": str(error)}
        if error.question is None:
            shutil.rmtree(own, ignore_errors=True)
        else:  # once answered, the images are read where they are now
            refused["question"] = error.question.model_dump(mode="json")
            shutil.rmtree(own / _UPLOAD, ignore_errors=True)
        _change(stored.id, **refused)
        return
    _change(
        stored.id,
        readiness=Readiness.READY,
        sentence=None,
        question=None,
        images=len(images),
        broken=len(images.broken),
        duplicates=len(images.duplicates),
        labels=len({image.label for image in images.images if image.label}),
        bytes=sum(image.bytes for image in images.images),
        sha256=images.sha256,
    )
    shutil.rmtree(own / _UPLOAD, ignore_errors=True)


def _images_in(stored: StoredSet, on_count: Callable[[int, int], None]) -> ImageSet:
    folder, own = Path(stored.folder), tables_folder(stored.id)
    labels = labels_from(stored.labels_from)
    archive = next((own / _UPLOAD).glob("*"), None)
    source = source_of(stored.folder)
    if archive is None and is_listing(source):
        return read_listing(source, stored.name, labels, allowed_addresses(), on_count)
    if archive is None:
        return read_folder(folder, stored.name, labels, on_count)
    for left in (folder, *own.glob(".part-*")):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    settings = configuration()
    limits = Limits(members=settings.archive_files, total_bytes=MB * settings.archive_mb)
    return read_archive(archive, stored.name, folder, labels, on_count, limits)


def _surrogates(
    stored: StoredSet, order: SurrogatesOrder, on_count: Callable[[int, int], None]
) -> ImageSet:
    from gsc_core.images.surrogates import KINDS, write_surrogates  # noqa: PLC0415 - heavy

    folder = Path(stored.folder)
    if folder.is_dir():  # it is there whole or not at all; an audit may be reading it
        return read_folder(folder, stored.name, None, on_count)
    source = set_tables.images_of(image_set(order.source))
    if len(source) > MAX_SURROGATES:
        source, _ = source.split(MAX_SURROGATES / len(source), seed=0)
    for left in folder.parent.glob(".part-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    kinds = [kind for kind in KINDS if kind.name == order.surrogate]
    return write_surrogates(source, folder, kinds, seed=0, on_count=on_count)


def counting(on_progress: Callable[[Progress], None], phase: str) -> Callable[[int, int], None]:
    """A function that reports how many of how many are done in a phase."""
    return lambda done, total: on_progress(Progress(phase, done, total))


def _changeable(set_id: str) -> StoredSet:
    stored = image_set(set_id)
    acting.ensure(Action.CHANGE, stored.owner)
    return stored


def _add(stored: StoredSet) -> StoredSet:
    return begin(stored, SetOrder(), f"Reading {stored.name}")


def new_set(name: str, role: str, origin: str) -> StoredSet:
    """A set whose images the workspace is to make itself, not yet added; `origin` says from what.

    Raises GscError when the name cannot be taken.
    """
    stored = StoredSet(id=new_id(), name=checked_name(name, role), role=role, folder="")
    stored.folder = str(tables_folder(stored.id) / _IMAGES)
    stored.origin = origin
    return stored


def begin(stored: StoredSet, order: JobOrder, title: str) -> StoredSet:
    """Add a set in the name of who acts, with the job that makes or reads it."""
    stored.owner = acting.ensure(Action.ADD).name
    with session() as db:  # both or neither: a set without its job would wait for ever
        db.add(stored)
        acting.record(Event.ADDED, trash.SET, stored.id, stored.name, stored.origin)
        orders.submit(order, title, stored.id)
    return stored


def _submit_kind(source: StoredSet, kind: str, name: str) -> StoredSet:
    stored = new_set(_free(name, f": {kind}"), "ood", f"{kind} of {source.name}")
    order = SurrogatesOrder(source=source.id, surrogate=kind)
    return begin(stored, order, f"Making {stored.name}")


def _free(name: str, ending: str) -> str:
    """A free name for an OOD set that ends so, or so and a number, and is not too long."""
    taken = {stored.name for stored in list_sets("ood")}
    numbered = (f"{ending} {n}" if n else ending for n in (None, *range(2, len(taken) + 3)))
    tries = (_cut(name, len(end)) + end for end in numbered)
    return next(stored for stored in tries if stored not in taken)


def _cut(name: str, ending: int) -> str:
    """As much of a name as leaves room for an ending of that many ASCII characters."""
    letters = name[: MAX_CHARACTERS - ending].encode()
    return letters[: MAX_BYTES - ending].decode(errors="ignore")


def _change(set_id: str, **values: Any) -> None:
    with session() as db:
        stored = db.get(StoredSet, set_id)
        if stored is not None:
            stored.sqlmodel_update(values)
            db.add(stored)


def checked_name(name: str, role: str, own_id: str | None = None) -> str:
    """The name without spaces around it; it becomes that of an OOD set in audits and files."""
    name = name.strip()
    if role not in ROLES:
        raise GscError(f"A set is for one of {', '.join(ROLES)}: choose one.")
    fits = 0 < len(name) <= MAX_CHARACTERS and len(name.encode("utf-8", "replace")) <= MAX_BYTES
    if not fits or not name.isprintable() or name in RESERVED:
        raise GscError(
            f"A set needs a name of 1 to {MAX_CHARACTERS} printable characters, and not "
            f"{' or '.join(RESERVED)}: choose another."
        )
    same = (stored for stored in list_sets(role) if stored.name == name and stored.id != own_id)
    if any(stored.readiness is not Readiness.REFUSED for stored in same):
        raise GscError("There is already a set with this name and role: choose another name.")
    return name


__all__ = [
    "ROLES",
    "add_address",
    "add_folder",
    "add_upload",
    "answer_set",
    "begin",
    "change_role",
    "checked_name",
    "counting",
    "delete_set",
    "finish",
    "folders",
    "image_set",
    "list_sets",
    "look",
    "look_again",
    "make_surrogates",
    "members",
    "new_set",
    "register",
    "rename_set",
    "runs_with",
    "submit_surrogates",
]
