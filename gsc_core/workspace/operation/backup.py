"""The whole workspace as one ZIP, made while the app and its workers go on.

For some seconds nobody else may write to the index: meanwhile it is copied, and every file gets a
second name, which costs no room. Files are replaced and never changed, so what these names lead to
stays as it was while it is packed. A job that runs is in the backup as one that waits: its finished
chunks are there, as after a kill.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gsc_core import __version__
from gsc_core.errors import GscError
from gsc_core.files import sole_writer_in, sole_writer_of, writing_to, written_aside
from gsc_core.jobs.configuration import FILE_NAME
from gsc_core.jobs.database import DATABASE_FILE, session
from gsc_core.jobs.home import home
from gsc_core.progress import Progress
from gsc_core.run.layout import METRICS_FILE
from gsc_core.workspace import trash
from gsc_core.workspace.catalogue import CATALOGUE_FILE
from gsc_core.workspace.operation.manifest import MANIFEST_FILE, Entry, Manifest
from gsc_core.workspace.upload_spool import FOLDER as UPLOADS

OnProgress = Callable[[Progress], None]

_STAGE = ".backup"
_LEFT_OUT = frozenset({UPLOADS, CATALOGUE_FILE, FILE_NAME})  # visitors', made again, the machine's
_BLOCK = 2**20
_PACKED = frozenset({".json", ".db", ".txt", ".csv", ".toml", ".share"})  # the rest is dense
_AGAIN = """
UPDATE job SET state = 'QUEUED', pid = NULL, phase = '', done = 0, total = 0, images_done = 0,
  rate = NULL, attempts = max(0, attempts - 1) WHERE state = 'RUNNING' AND NOT cancel
"""
_CANCELLED = """
UPDATE job SET state = 'CANCELLED', pid = NULL, finished = cancel_asked WHERE state = 'RUNNING'
"""


def back_up(file: Path, on_progress: OnProgress = lambda _: None) -> Manifest:
    """Write the workspace into a new ZIP, with the SHA-256 of every file.

    Raises GscError when there is no workspace, another backup is just being made, `file` lies in
    the workspace, or the disk refuses; then no file is left.
    """
    if not home().is_dir():
        raise GscError(f"There is no workspace in {home()}: set GSC_HOME to one.")
    if file.resolve().is_relative_to(home().resolve()):
        raise GscError(f"{file} lies in the workspace itself: choose a place outside.")
    busy = "Another backup is being made: wait until it ends."
    with sole_writer_of(file, busy), _frozen(busy) as (stage, made):
        return _packed(stage, file, made, on_progress)


@contextmanager
def _frozen(busy: str) -> Iterator[tuple[Path, datetime]]:
    """A folder with the workspace as it was at one moment, and that moment."""
    stage = home() / _STAGE
    with session() as db:
        db.connection()  # an index of an earlier version is brought up to date first
    with sole_writer_in(stage, busy):
        try:
            _clear(stage)
            with writing_to(stage), session() as db:
                db.connection()  # from here on nobody else writes to the index
                made = datetime.now(UTC)
                for database in home().glob("*.db"):
                    _copy_database(database, stage / database.name)
                _link_files(home(), stage)
            with closing(sqlite3.connect(stage / DATABASE_FILE)) as index, index:
                index.execute(_AGAIN)
                index.execute(_CANCELLED)
            yield stage, made
        finally:
            _clear(stage)


def _copy_database(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as opened,
        closing(sqlite3.connect(target)) as copy,
    ):
        opened.backup(copy)


def _link_files(source: Path, target: Path) -> None:
    """Give every file a second name below `target`.

    Results first: one that is there has all the files that were written before it. One that comes
    later is left out, since what it stands for may have been passed already.
    """
    results = {path for path in source.glob(f"runs/*/{METRICS_FILE}") if not path.is_symlink()}
    for path in (*sorted(results), *_files(source)):
        if path in results or path.name != METRICS_FILE:
            name = target / path.relative_to(source)
            if not name.exists():
                name.parent.mkdir(parents=True, exist_ok=True)
                _link(path, name)


def _files(folder: Path) -> Iterator[Path]:
    """Those that are whole and belong to the workspace."""
    for base, folders, names in os.walk(folder):
        here = Path(base)
        left_out = _LEFT_OUT if here == folder else frozenset()
        folders[:] = [n for n in folders if _is_own(n) and n not in left_out]
        for name in names:
            path = here / name
            own = not name.startswith(".") and name not in left_out
            whole = not name.endswith((".part", ".lock", "-journal")) and path.suffix != ".db"
            if own and whole and not path.is_symlink() and path.is_file():
                yield path


def _is_own(name: str) -> bool:
    """Whether a folder is more than work in progress; a deleted run can still be restored."""
    return not name.startswith(".") or name.startswith(trash.IN_TRASH)


def _link(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except FileNotFoundError:
        return  # it was removed just now
    except OSError:  # a disk without second names
        shutil.copyfile(path, name)


def _packed(stage: Path, file: Path, made: datetime, on_progress: OnProgress) -> Manifest:
    paths = sorted(path for path in stage.rglob("*") if path.is_file())
    entries = []
    with (
        written_aside(file) as part,
        writing_to(file),
        zipfile.ZipFile(part, "x", allowZip64=True) as archive,
    ):
        part.chmod(0o600)  # it has all that people uploaded
        for done, path in enumerate(paths):
            on_progress(Progress("packing", done, len(paths)))
            entries.append(_pack(archive, path, path.relative_to(stage).as_posix()))
        manifest = Manifest(program=__version__, made=made, home=str(home()), files=tuple(entries))
        archive.writestr(MANIFEST_FILE, manifest.model_dump_json(), zipfile.ZIP_DEFLATED)
    return manifest


def _pack(archive: zipfile.ZipFile, path: Path, name: str) -> Entry:
    digest, size = hashlib.sha256(), 0
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED if path.suffix in _PACKED else zipfile.ZIP_STORED
    with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as sink:
        while block := source.read(_BLOCK):
            digest.update(block)
            size += sink.write(block)
    return Entry(name=name, bytes=size, sha256=digest.hexdigest())


def _clear(stage: Path) -> None:
    """What a backup that was killed left, or this one needs no more."""
    for left in stage.iterdir():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
