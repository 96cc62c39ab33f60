"""The index of the workspace, one SQLite file: models, image sets, jobs.

The files themselves lie in folders beside it. Several processes write: the app and its workers. So
the journal is SQLite's default and not WAL, whose reset fault is in the versions before 3.51.3.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Engine
from sqlmodel import Field, Session, SQLModel, create_engine

from gsc_core.workspace.home import home

DATABASE_FILE = "workspace.db"
_PATIENCE = 30.0  # seconds to wait for another process to finish writing


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
    EXPLAIN = "explain"
    TRY = "try"

    @property
    def lane(self) -> Lane:
        """Audits take the device in turn; what a person waits for goes past them."""
        if self in (Kind.AUDIT, Kind.DEMO, Kind.ABLATION):
            return Lane.AUDIT
        return Lane.EXPLAIN if self in (Kind.EXPLAIN, Kind.TRY) else Lane.PREPARE


class State(StrEnum):
    """How far a job is; the last three are the end of it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StoredModel(SQLModel, table=True):
    """A classifier that was added: how to load it (`ModelSpec` as JSON) and what was found in it.

    `facts` is `models.ModelFacts` as JSON once a worker has looked; `sentence` says why it was
    refused.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    spec: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    readiness: Readiness = Readiness.WAITING
    sentence: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created: float = Field(default_factory=time.time)


class StoredSet(SQLModel, table=True):
    """A set of pictures that was added: the folder it lies in and what was counted there.

    `role` is what it was added for: `id`, `ood` or `calibration`. `origin` tells in words where it
    came from; `kept` whether the folder is the workspace's own, to be deleted with the record.
    """

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    role: str
    folder: str
    origin: str = ""
    kept: bool = True
    readiness: Readiness = Readiness.WAITING
    sentence: str | None = None
    images: int = 0
    broken: int = 0
    duplicates: int = 0
    labels: int = 0
    bytes: int = 0
    sha256: str | None = None
    created: float = Field(default_factory=time.time)


class Job(SQLModel, table=True):
    """A piece of work for a worker process, with its progress.

    `subject` is the id of the run, model or set it works for. `done` of `total` counts the phase at
    hand, `images_done` of `images_total` the whole job where that is known. `error` is the sentence
    for the reader when it failed. Times are seconds since 1970.
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
    error: str | None = None
    pid: int | None = None
    created: float = Field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None


@contextmanager
def session() -> Iterator[Session]:
    """A database session that commits at its end; what it read can be used after it."""
    with Session(_engine(home()), expire_on_commit=False) as opened:
        yield opened
        opened.commit()


@cache
def _engine(folder: Path) -> Engine:
    folder.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{folder / DATABASE_FILE}", connect_args={"timeout": _PATIENCE}
    )
    SQLModel.metadata.create_all(engine)
    return engine
