"""A full, read-only, torn or locked disk, and a clock that goes back: a sentence, nothing torn."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import audit, gsc
from small_audit import write_stage
from uploads import packed, png

from gsc_core.errors import GscError
from gsc_core.jobs import database, queue
from gsc_core.jobs.database import Kind, Lane
from gsc_core.workspace import imagesets
from gsc_core.workspace.operation.backup import back_up
from gsc_core.workspace.operation.restore import restore_into

EARLIER = Path(__file__).parents[2] / "earlier" / "workspace"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here: run it as root of a machine")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def filled(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))


def there(disk: Path) -> set[str]:
    return {p.relative_to(disk).as_posix() for p in disk.rglob("*") if p.is_file()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(EARLIER, tmp_path / "home")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_backup_on_a_full_disk(home, disk):
    with (disk / "filler").open("wb") as file:
        file.write(bytes(900_000))
    with pytest.raises(GscError, match=r"The disk is full, so .* could not be written"):
        back_up(disk / "b.zip")
    assert there(disk) == {"filler"}
    assert not (home / ".backup").exists()


def test_a_restore_on_a_full_disk(home, disk, tmp_path):
    back_up(tmp_path / "b.zip")
    with (disk / "filler").open("wb") as file:
        file.write(bytes(900_000))
    with pytest.raises(GscError, match="The disk is full, so the workspace could not be written"):
        restore_into(tmp_path / "b.zip", disk / "new")
    assert there(disk) == {"filler"}


@pytest.mark.slow
def test_an_audit_on_a_full_disk(disk, tmp_path):
    stage = write_stage(tmp_path / "stage")
    filled(disk)
    ended = gsc(*audit(stage, disk / "out"))
    assert ended.code == 2
    assert "The disk is full" in ended.told[-1]
    assert there(disk) <= {"filler", "out/log.txt"}


def test_an_upload_on_a_full_disk_leaves_no_record(disk, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(disk / "home"))
    assert imagesets.list_sets() == []
    filled(disk)
    before = there(disk)
    with pytest.raises(GscError, match="The disk is full"):
        imagesets.add_upload([("x.zip", packed({"1.png": png(1)}))], name="x", role="ood")
    assert there(disk) == before
    assert imagesets.list_sets() == []


def test_a_workspace_that_cannot_be_written(disk, monkeypatch, tmp_path):
    monkeypatch.setenv("GSC_HOME", str(disk / "home"))
    queue.submit(Kind.SET, "x", "s", {})
    read_only(disk)
    for act in (
        lambda: queue.submit(Kind.SET, "y", "s", {}),
        lambda: back_up(tmp_path / "b.zip"),
        lambda: restore_into(tmp_path / "none.zip", disk / "new"),
    ):
        with pytest.raises(GscError, match=r"cannot be (written|opened)"):
            act()
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_torn_index_is_a_sentence_and_finished_runs_stay(share, home):
    file = home / "workspace.db"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(GscError, match=r"workspace\.db is damaged: move it away"):
        queue.jobs()
    file.rename(home / "moved")
    assert gsc("gate", next((home / "runs").iterdir()).name, "--json").code in (0, 3, 4)


def test_an_index_that_another_holds(home, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    database._engine.cache_clear()
    queue.jobs()
    with sqlite3.connect(home / "workspace.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(GscError, match="The workspace is busy with another process"):
            queue.jobs()
        other.execute("ROLLBACK")
    assert queue.jobs()
    database._engine.cache_clear()


def test_a_clock_that_goes_back(home, monkeypatch):
    first = queue.submit(Kind.SET, "first", "a", {})
    now = first.created
    monkeypatch.setattr("time.time", lambda: now - 86_400)
    second = queue.submit(Kind.SET, "second", "b", {})
    claimed = {job.id for _ in range(2) if (job := queue.claim(Lane.PREPARE, 1)) is not None}
    assert claimed == {first.id, second.id}, "both are done"
