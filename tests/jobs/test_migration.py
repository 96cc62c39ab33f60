"""An index of an earlier version becomes today's: nothing is lost, and a copy of it stays."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from places import TESTS

from gsc_core.errors import GscError
from gsc_core.jobs import database
from gsc_core.jobs.database import VERSION, Job, session
from gsc_core.workspace import history, imagesets, models

EARLIER = {
    1: TESTS / "earlier" / "workspace" / "workspace.db",
    2: TESTS / "earlier" / "index-2.sql",
}
FORK = multiprocessing.get_context("fork")
TABLES = ("storedmodel", "storedset", "job")


@pytest.fixture(params=EARLIER)
def version(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> int:
    """A workspace of that version, which is the GSC_HOME."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    source: Path = EARLIER[request.param]
    if source.suffix == ".sql":
        with closing(sqlite3.connect(tmp_path / "workspace.db")) as index:
            index.executescript(source.read_text(encoding="utf-8"))
    else:
        shutil.copy(source, tmp_path / "workspace.db")
    return int(request.param)


def read(file: Path) -> tuple[int, dict[str, list[dict[str, object]]]]:
    """The version of an index, and its rows by table."""
    with closing(sqlite3.connect(file)) as index:
        index.row_factory = sqlite3.Row
        found = {
            table: [dict(row) for row in index.execute(f"SELECT * FROM {table} ORDER BY id")]
            for table in TABLES
        }
        return index.execute("PRAGMA user_version").fetchone()[0], found


def test_every_row_and_value_is_there(version, tmp_path):
    before_version, before = read(tmp_path / "workspace.db")
    assert before_version == version and all(before.values())
    assert models.list_models() and imagesets.list_sets() and history.history()
    today, after = read(tmp_path / "workspace.db")
    assert today == VERSION
    for table in TABLES:
        assert len(before[table]) == len(after[table])
        for then, now in zip(before[table], after[table], strict=True):
            assert then == {name: now[name] for name in then}
    if version < VERSION:
        assert read(tmp_path / f"workspace-v{version}.db") == (version, before)


def test_what_is_killed_in_the_middle_begins_anew(version, tmp_path, monkeypatch):
    if version == VERSION:
        pytest.skip("today's version: there is nothing to change")
    before = read(tmp_path / "workspace.db")
    changed = database._add_columns

    def die(connection) -> None:
        changed(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(database, "_add_columns", die)
    process = FORK.Process(target=models.list_models)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert read(tmp_path / "workspace.db") == before
    monkeypatch.setattr(database, "_add_columns", changed)
    assert models.list_models()
    assert read(tmp_path / "workspace.db")[0] == VERSION


def test_a_disk_that_takes_no_copy_leaves_the_index_as_it_was(version, tmp_path, monkeypatch):
    if version == VERSION:
        pytest.skip("today's version: there is nothing to change")
    before = read(tmp_path / "workspace.db")
    (tmp_path / f"workspace-v{version}.db").mkdir()
    with pytest.raises(GscError, match="cannot be written"):
        models.list_models()
    assert read(tmp_path / "workspace.db") == before


def test_a_new_index_leaves_no_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    with session() as db:
        assert db.get(Job, "x") is None
    assert [path.name for path in tmp_path.iterdir()] == ["workspace.db"]
