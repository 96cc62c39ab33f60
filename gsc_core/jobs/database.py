"""The index of the workspace, one SQLite file: models, image sets, jobs.

The files themselves lie in folders beside it. Several processes write: the app and its workers. So
the journal is SQLite's default and not WAL, whose reset fault is in the versions before 3.51.3; by
that default too, what was committed is on the disk (synchronous=FULL).
"""

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, Column, Connection, Engine, NullPool, event
from sqlalchemy.exc import DatabaseError
from sqlmodel import Field, Session, SQLModel, create_engine

from gsc_core.errors import GscError
from gsc_core.files import disk_full, written_aside
from gsc_core.jobs.home import home

DATABASE_FILE = "workspace.db"
VERSION = 3  # of the tables; a file of a later program is left alone
BUSY_TIMEOUT_S = 30.0  # seconds to wait for another process to finish writing


def new_id() -> str:
    """Twelve hexadecimal digits: short enough for an address, too many to meet twice."""
    return uuid.uuid4().hex[:12]


class Readiness(StrEnum):
    """Whether a stored model or set can be used: it is looked at first, by a worker."""

    WAITING = "waiting"
    READY = "ready"
    REFUSED = "refused"


class Lane(StrEnum):
    """Jobs of one lane run one after another, each lane in a process of its own."""

    AUDIT = "audit"
    PREPARE = "prepare"
    EXPLAIN = "explain"


class Kind(StrEnum):
    """What a job does."""

    AUDIT = "audit"
    DEMO = "demo"
    ABLATION = "ablation"
    MODEL = "model"
    SET = "set"
    SURROGATES = "surrogates"
    REMAINDER = "remainder"
    EXPLAIN = "explain"
    TRY = "try"
    TRY_MANY = "try many"
    REPORT_IMAGES = "telling"
    EXPORT = "export"
    MAP = "map"

    @property
    def lane(self) -> Lane:
        """Audits take the device in turn; what a person waits for goes past them."""
        if self in (Kind.AUDIT, Kind.DEMO, Kind.ABLATION):
            return Lane.AUDIT
        waited_for = (
            *(Kind.EXPLAIN, Kind.TRY, Kind.TRY_MANY),
            *(Kind.REPORT_IMAGES, Kind.EXPORT, Kind.MAP),
        )
        return Lane.EXPLAIN if self in waited_for else Lane.PREPARE


class State(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (State.DONE, State.FAILED, State.CANCELLED)


class StoredModel(SQLModel, table=True):
    """A classifier that was added: how to load it (`ModelSpec` as JSON) and what was found in it.

    `facts` is `models.ModelFacts` as JSON once a worker has looked; `sentence` says why it was
    refused, `question` (`Question` as JSON) what has to be answered first where that is why.
    `owner` is the address of who added it; None belongs to nobody.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    spec: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    readiness: Readiness = Readiness.WAITING
    sentence: str | None = None
    question: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    owner: str | None = None
    created: float = Field(default_factory=time.time)


class StoredSet(SQLModel, table=True):
    """A set of images that was added: the folder it lies in and what was counted there.

    `role` is what it was added for: `id`, `ood` or `calibration`. `origin` tells in words where it
    came from; `owned` whether the folder is the workspace's own, to be deleted with the record.
    `labels_from` is what labels are taken from where that was asked for: `folders`, or the path
    of a table. `sentence`, `question` and `owner` as for a model.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    role: str
    folder: str
    origin: str = ""
    owned: bool = Field(default=True, sa_column_kwargs={"name": "kept"})
    readiness: Readiness = Readiness.WAITING
    sentence: str | None = None
    question: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    labels_from: str | None = None
    images: int = 0
    broken: int = 0
    duplicates: int = 0
    labels: int = 0
    bytes: int = 0
    sha256: str | None = None
    owner: str | None = None
    created: float = Field(default_factory=time.time)


class Job(SQLModel, table=True):
    """A piece of work for a worker process, with its progress.

    `subject` is the id of the run, model or set it works for. `done` of `total` counts the phase at
    hand, `images_done` of `images_total` the whole job where that is known. `error` is the sentence
    for the reader when it failed, `question` what has to be answered first where it stopped for
    that; `attempts` how often a worker began, and `cancel_asked` when a
    person asked for the end. `owner` is who asked for it. Times are seconds since 1970.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    kind: Kind
    title: str
    subject: str = Field(index=True)
    payload: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    state: State = Field(default=State.QUEUED, index=True)
    lane: Lane
    phase: str = ""
    done: int = 0
    total: int = 0
    images_done: int = 0
    images_total: int = 0
    rate: float | None = None
    attempts: int = 0
    cancel: bool = False
    cancel_asked: float | None = None
    error: str | None = None
    question: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    pid: int | None = None
    owner: str | None = None
    created: float = Field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None


class Turn(SQLModel, table=True):
    """Whose job was taken last in a lane: `served` is larger, the later. An owner "" is nobody."""

    lane: Lane = Field(primary_key=True)
    owner: str = Field(primary_key=True)
    served: float


class Deleted(SQLModel, table=True):
    """A model, set or run in the trash, with the `rows` of the index that went with it.

    `what` is `model`, `set` or `run`, `subject` its id there; `deleted` is when, and `by` whom.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    what: str
    subject: str = Field(index=True)
    name: str
    owner: str | None = None
    by: str | None = None
    rows: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    deleted: float = Field(default_factory=time.time)


# A session opened inside another is the same one: it would else wait for itself.
_opened: ContextVar[tuple[Path, Session] | None] = ContextVar("opened", default=None)


@contextmanager
def session() -> Iterator[Session]:
    """A database session that commits at its end; what it read can be used after it.

    It takes the file's write lock when it starts, so what it reads stays true until it commits:
    keep it short. Raises GscError when the file is damaged, newer, busy or cannot be written.
    """
    file = home() / DATABASE_FILE
    outer = _opened.get()
    if outer is not None and outer[0] == file:
        yield outer[1]
        return
    _make_folder(file.parent)
    with _in_words(file), Session(_engine(file), expire_on_commit=False) as opened:
        token = _opened.set((file, opened))
        try:
            yield opened
            opened.commit()
        finally:
            _opened.reset(token)


@lru_cache(maxsize=8)
def _engine(file: Path) -> Engine:
    arguments = {"timeout": BUSY_TIMEOUT_S, "isolation_level": None}  # we begin, not the driver
    url = URL.create("sqlite", database=str(file))  # whatever letters are in it
    engine = create_engine(url, connect_args=arguments, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def code_of_new_index() -> frozenset[str]:
    """The SQL of triggers and views that this program itself puts into an index."""
    engine = create_engine("sqlite://")
    event.listen(engine, "begin", _begin)
    own = "SELECT sql FROM sqlite_master WHERE type IN ('trigger', 'view')"
    with engine.begin() as connection:
        return frozenset(connection.exec_driver_sql(own).scalars())


def _begin(connection: Connection) -> None:
    """Take the write lock, and make the tables of a new file: whoever comes first does."""
    # A read that turns into a write would fail at once, not wait, when two of them meet.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > VERSION:
        raise GscError(
            f"{home() / DATABASE_FILE} was written by a newer version of this program: "
            "install that version, or set GSC_HOME to another folder."
        )
    if version < VERSION:
        _save_earlier(connection, version)
        SQLModel.metadata.create_all(connection)
        _add_columns(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _save_earlier(connection: Connection, version: int) -> None:
    """A copy of the file as an earlier version of this program left it, beside it."""
    file = connection.engine.url.database
    if not version or not file:  # it is new
        return
    copy = Path(file).with_name(f"workspace-v{version}.db")
    with (
        written_aside(copy) as part,
        closing(sqlite3.connect(file)) as source,
        closing(sqlite3.connect(part)) as target,
    ):
        source.backup(target)


def _add_columns(connection: Connection) -> None:
    """The columns that a file of an earlier version lacks, empty in the rows that are there."""
    for table in SQLModel.metadata.sorted_tables:
        there = {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table.name})")}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}"
                )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GscError(
            f"The workspace {folder} cannot be written ({error.strerror}): "
            "set GSC_HOME to a folder that can."
        ) from error


_SENTENCES = {
    sqlite3.SQLITE_FULL: disk_full("{}"),
    sqlite3.SQLITE_NOTADB: "{} is damaged: move it away; finished runs are found without it.",
    sqlite3.SQLITE_READONLY: "{} cannot be written: check who owns the file and its folder.",
    sqlite3.SQLITE_CANTOPEN: "{} cannot be opened: check who owns the file and its folder.",
    sqlite3.SQLITE_IOERR: "The disk fails to read or write {}: check the disk.",
}
_SENTENCES[sqlite3.SQLITE_CORRUPT] = _SENTENCES[sqlite3.SQLITE_NOTADB]


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    """What SQLite refuses as one sentence; what we did wrong stays what it is."""
    try:
        yield
    except DatabaseError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the rest says more of the same
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise GscError("The workspace is busy with another process: try again.") from error
        if code in _SENTENCES:
            raise GscError(_SENTENCES[code].format(file)) from error
        raise
