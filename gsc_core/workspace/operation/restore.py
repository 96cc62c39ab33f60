"""A workspace made of a backup. The file may come from anybody: it is checked part by part.

It is unpacked aside, and becomes the workspace when all of it was found to be sound.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from gsc_core.errors import GscError, ImageError
from gsc_core.files import disk_full
from gsc_core.images.archive import Limits, guarded, is_hidden
from gsc_core.images.aside import folder_written_aside
from gsc_core.jobs import database
from gsc_core.jobs.database import DATABASE_FILE
from gsc_core.progress import Progress
from gsc_core.workspace import trash
from gsc_core.workspace.operation.manifest import MANIFEST_FILE, VERSION, Manifest
from gsc_core.workspace.runs import RUN_ID

OnProgress = Callable[[Progress], None]

_BLOCK = 2**20
_MOST_MANIFEST_BYTES = 500_000_000
_LIMITS = Limits(members=3_000_000, total_bytes=2**62)  # its own list, and the disk, say how much
_ID = re.compile(r"[0-9a-f]{12}")
_IN_TRASH = re.compile(r"runs/\.trash-[0-9a-f]{12}-[^/.][^/]*/[^.]")
_MODEL = "models/[0-9a-f]{64}/[^/]+"


class _Unsound(Exception):  # noqa: N818 - said by its catcher
    """What is wrong with a backup, as the end of a sentence that begins with its name."""


def restore_into(file: Path, into: Path, on_progress: OnProgress = lambda _: None) -> Manifest:
    """Make the empty or missing folder `into` a workspace as the backup has it.

    Paths that lead into the workspace lead into `into` then. Raises GscError, and leaves nothing,
    when the backup is damaged or was made to harm, or is of a later version; when `into` holds
    something; or when the disk refuses.
    """
    with folder_written_aside(into) as part:
        try:
            with guarded(file, _LIMITS) as (archive, members):
                manifest = _manifest(archive, members)
                _check_room(manifest, part)
                _unpack(archive, manifest, part, on_progress)
            _check_index(part / DATABASE_FILE)
        except (_Unsound, ImageError, sqlite3.Error) as error:
            reason = str(error).removeprefix(f"{file.name} ").split(": ")[0].rstrip(".")
            raise GscError(
                f"{file.name} {reason}, so nothing was restored: use another backup."
            ) from error
        if manifest.home != str(into.absolute()):
            _relocate(part, manifest.home, str(into.absolute()))
        return manifest


def _manifest(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Manifest:
    names = {member.filename: member for member in members}
    listed = names.pop(MANIFEST_FILE, None)
    if listed is None or listed.file_size > _MOST_MANIFEST_BYTES:
        raise _Unsound("is not a backup of GSC Audit")
    with archive.open(listed) as source:
        text = source.read(_MOST_MANIFEST_BYTES + 1)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _Unsound("is not a backup of GSC Audit") from error
    if manifest.version > VERSION:
        raise GscError(
            "The backup was made by a newer version of this program: install that version."
        )
    if {entry.name: entry.bytes for entry in manifest.files} != {
        name: member.file_size for name, member in names.items()
    } or len(manifest.files) != len(names):
        raise _Unsound("holds other files than it lists")
    if any(is_hidden(PurePosixPath(name)) and not _IN_TRASH.match(name) for name in names):
        raise _Unsound("holds hidden files")
    return manifest


def _check_room(manifest: Manifest, folder: Path) -> None:
    needed, free = sum(entry.bytes for entry in manifest.files), shutil.disk_usage(folder).free
    if needed > free:
        raise GscError(
            f"{disk_full('the workspace')} It needs {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free."
        )


def _unpack(
    archive: zipfile.ZipFile, manifest: Manifest, folder: Path, on_progress: OnProgress
) -> None:
    for done, entry in enumerate(manifest.files):
        on_progress(Progress("unpacking", done, len(manifest.files)))
        path = folder / PurePosixPath(entry.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, left = hashlib.sha256(), entry.bytes
        with archive.open(entry.name) as source, path.open("xb") as sink:
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise _Unsound("holds more than it lists")
                digest.update(block)
                sink.write(block)
        if left or digest.hexdigest() != entry.sha256:
            raise _Unsound(f"is damaged in {entry.name[:60]!a}")


def _check_index(file: Path) -> None:
    """The index is a program's input, too: no code in it, and no path that leads elsewhere."""
    if not file.is_file():
        raise _Unsound("has no index")
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as index:
        index.execute("PRAGMA trusted_schema = OFF")
        (version,) = index.execute("PRAGMA user_version").fetchone()
        if version > database.VERSION:
            raise GscError(
                "The backup was made by a newer version of this program: install that version."
            )
        if index.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
            raise _Unsound("has a damaged index")
        own = "SELECT sql FROM sqlite_master WHERE type IN ('trigger', 'view')"
        if {sql for (sql,) in index.execute(own)} - database.code_of_new_index():
            raise _Unsound("has an index with code in it")
        if not all(_is_sound(index)):
            raise _Unsound("has an index that leads out of its workspace")


def _is_sound(index: sqlite3.Connection) -> Iterator[bool]:
    """Ids become names of folders, and paths are followed; of what is in the trash as well.

    The workspace may have been moved by hand since it wrote a path: what comes before its own part
    of one is not looked at.
    """
    for set_id, folder, owned in index.execute("SELECT id, folder, kept FROM storedset"):
        yield _is_set(set_id, folder, owned)
    for model_id, spec in index.execute("SELECT id, spec FROM storedmodel"):
        yield _is_model(model_id, _of_json(spec))
    for job_id, subject in index.execute("SELECT id, subject FROM job"):
        yield _is_job(job_id, subject)
    if index.execute("SELECT 1 FROM sqlite_master WHERE name = 'deleted'").fetchone():
        for entry_id, what, subject, rows in index.execute(
            "SELECT id, what, subject, rows FROM deleted"
        ):
            yield _is_deleted(entry_id, what, subject, _of_json(rows))


def _is_set(set_id: object, folder: object, owned: object) -> bool:
    return _is_id(set_id) and (not owned or _leads_to(folder, f"imagesets/{set_id}"))


def _is_model(model_id: object, spec: object) -> bool:
    if not isinstance(spec, dict):
        return False
    paths = [spec.get("checkpoint"), spec.get("class_names")]
    return _is_id(model_id) and all(_leads_to(path, _MODEL) for path in paths if _is_path(path))


def _is_job(job_id: object, subject: object) -> bool:
    return _is_id(job_id) and bool(RUN_ID.fullmatch(str(subject)))


def _is_deleted(entry_id: object, what: object, subject: object, rows: object) -> bool:
    """Whether what can be restored or removed by this entry lies where such things lie."""
    if not (isinstance(rows, dict) and _is_id(entry_id) and RUN_ID.fullmatch(str(subject))):
        return False
    places = {
        trash.MODEL: "models/[0-9a-f]{64}",
        trash.SET: f"imagesets/{subject}",
        trash.RUN: re.escape(f"runs/{trash.IN_TRASH}{entry_id}-{subject}"),
    }
    folder = rows.get("folder")
    return (
        what in places
        and (folder is None or bool(re.fullmatch(places[str(what)], str(folder))))
        and all(map(_is_record, rows.get("records") or ()))
    )


def _is_record(record: object) -> bool:
    match record:
        case ["StoredSet", {"id": set_id, "folder": folder, **more}]:
            return _is_set(set_id, folder, more.get("owned", True))
        case ["StoredModel", {"id": model_id, "spec": spec}]:
            return _is_model(model_id, spec)
        case ["Job", {"id": job_id, "subject": subject}]:
            return _is_job(job_id, subject)
    return False


def _of_json(text: object) -> object:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


def _is_id(text: object) -> bool:
    return bool(_ID.fullmatch(str(text)))


def _is_path(text: object) -> bool:
    return isinstance(text, str) and "/" in text


def _leads_to(text: object, part: str) -> bool:
    """Whether a path is one of a workspace, to a part of it that this pattern names."""
    own = re.fullmatch(rf"/(.+/)?{part}(/.*)?", str(text), re.DOTALL)
    return bool(own) and ".." not in PurePosixPath(str(text)).parts


def _relocate(folder: Path, before: str, now: str) -> None:
    """Let paths that led into the workspace lead into where it is now."""
    old, new = _in_json(before), _in_json(now)
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as index, index:
        for table, column in _text_columns(index):
            pairs = [(old, new)] if column != "folder" else [(before + "/", now + "/")]
            index.executemany(  # the names are the schema's
                f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)',  # noqa: S608
                pairs,
            )
    for room in ("runs", "imagesets"):
        for document in (folder / room).rglob("*.json"):
            text = document.read_bytes()
            moved = text.replace(old.encode(), new.encode())
            if moved != text:
                document.write_bytes(moved)


def _text_columns(index: sqlite3.Connection) -> list[tuple[str, str]]:
    """Tables and their columns in which a path may stand, by itself or in JSON."""
    tables = [
        name for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    return [
        (table, column)
        for table in tables
        if table.isidentifier() and not table.startswith("sqlite_")
        for _, column, kind, *_ in index.execute(f'PRAGMA table_info("{table}")')
        if kind in ("JSON", "VARCHAR") and column.isidentifier()
    ]


def _in_json(folder: str) -> str:
    """How a path below a folder begins in a document."""
    return json.dumps(folder + "/", ensure_ascii=False)[:-1]
