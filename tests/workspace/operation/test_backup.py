"""A backup made while work goes on, restored elsewhere; and backups that were made to harm."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from command_line import gsc, program
from filled_workspace import fill
from states import until

from gsc_core.audit.spec import DetectorSpec
from gsc_core.errors import GscError
from gsc_core.jobs import queue
from gsc_core.jobs.database import Kind, State
from gsc_core.workspace import audits, history, imagesets, models, runs, trash
from gsc_core.workspace.operation import backup as operation
from gsc_core.workspace.operation.backup import back_up
from gsc_core.workspace.operation.restore import restore_into

EARLIER = Path(__file__).parents[2] / "earlier" / "workspace"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of an earlier version, with a model, sets and a finished run."""
    shutil.copytree(EARLIER, tmp_path / "home")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(home: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(home / "workspace.db") as index:
        return {
            table: index.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("storedmodel", "storedset", "job")
        }


# --- whole -------------------------------------------------------------------------------------


def test_what_is_restored_is_what_was_there(home, tmp_path, monkeypatch):
    assert gsc("backup", tmp_path / "b.zip").code == 0
    assert (tmp_path / "b.zip").stat().st_mode & 0o077 == 0
    before, records = files(home), rows(home)
    assert not any("backup" in name for name in before)
    shutil.rmtree(home)
    assert gsc("restore", tmp_path / "b.zip").code == 0
    after = files(home)
    for each in (before, after):  # its pages may be ordered otherwise
        assert each.pop("workspace.db")
        assert each.pop("workspace-v1.db")
    assert after == before
    assert rows(home) == records


def test_the_files_list_their_digests(home, tmp_path):
    manifest = back_up(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.testzip() is None
        assert {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
                if name != "backup.json"} == {e.name: e.sha256 for e in manifest.files}  # fmt: skip


@pytest.mark.slow
def test_a_folder_elsewhere_opens_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "one"))
    fill(tmp_path / "stage")
    back_up(tmp_path / "b.zip")
    shutil.rmtree(tmp_path / "one")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "two"))
    restore_into(tmp_path / "b.zip", tmp_path / "two")
    (model,) = models.list_models()
    checkpoint = models.spec_of(model).checkpoint
    assert checkpoint is not None and checkpoint.is_relative_to(tmp_path / "two")
    assert str(tmp_path / "one") not in json.dumps([str(row) for row in rows(tmp_path / "two")])


@pytest.mark.slow
def test_an_audit_that_runs_goes_on_from_the_backup(tmp_path, monkeypatch):
    """As after a kill: the same figures as where it was left alone."""
    home = tmp_path / "home"
    monkeypatch.setenv("GSC_HOME", str(home))
    fill(tmp_path / "stage")
    sets = {stored.name: stored for stored in imagesets.list_sets()}
    (model,) = models.list_models()
    detectors = [DetectorSpec(name="gsc"), DetectorSpec(name="energy")]
    spec = audits.specification(
        models.spec_of(model), sets["photos"], [sets["noise"], sets["faint"]], 0.5, detectors,
        batch_size=1,
    )  # fmt: skip
    run_id = audits.submit_audit(spec, "An audit", 170)
    worker = subprocess.Popen(program("worker", "--lane", "audit", "--idle", "0"))
    try:
        until(lambda: queue.jobs(kinds=(Kind.AUDIT,))[0].images_done > 0)
        back_up(tmp_path / "b.zip")
        assert queue.jobs(kinds=(Kind.AUDIT,))[0].state is State.RUNNING, "it was made in time"
        until(lambda: worker.poll() is not None)
    finally:
        worker.kill()
    undisturbed = runs.run_folder(run_id)
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "other"))
    restore_into(tmp_path / "b.zip", tmp_path / "other")
    (job,) = queue.jobs(kinds=(Kind.AUDIT,))
    assert (job.state, job.pid, job.attempts) == (State.QUEUED, None, 0)
    subprocess.run(program("worker", "--lane", "audit", "--idle", "0"), check=True)
    assert queue.jobs(kinds=(Kind.AUDIT,))[0].state is State.DONE
    tables = [pd.read_parquet(folder / "scores.parquet")
              for folder in (undisturbed, runs.run_folder(run_id))]  # fmt: skip
    pd.testing.assert_frame_equal(*tables)
    results = [json.loads((folder / "metrics.json").read_text())["results"]
               for folder in (undisturbed, runs.run_folder(run_id))]  # fmt: skip
    assert results[0] == results[1]


def test_nothing_of_visitors_of_locks_or_of_the_machine_is_in_it(home, tmp_path):
    for name in ("uploads/x/file", "worker-audit.lock", "gsc.toml", ".secret", "shares/a.part"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("")
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (home / "runs" / "link").symlink_to(outside)
    manifest = back_up(tmp_path / "b.zip")
    names = {entry.name for entry in manifest.files}
    assert "workspace.db" in names and "policy.toml" in names
    assert not {n for n in names if "x/file" in n or "lock" in n or "secret" in n or "link" in n}
    assert not names & {"gsc.toml", "shares/a.part"}


def test_nobody_writes_to_the_index_while_it_is_frozen(home, tmp_path, monkeypatch):
    """A deletion waits: else files would be missing that the copied index names."""
    tried = []

    def try_to_write(source: Path, target: Path) -> None:
        with sqlite3.connect(home / "workspace.db") as index:
            index.execute("PRAGMA busy_timeout = 0")
            try:
                index.execute("DELETE FROM storedset")
            except sqlite3.OperationalError as error:
                tried.append(str(error))
        link(source, target)

    link = operation._link_files
    monkeypatch.setattr(operation, "_link_files", try_to_write)
    back_up(tmp_path / "b.zip")
    assert tried == ["database is locked"]


# --- refused -----------------------------------------------------------------------------------


def test_a_backup_into_the_workspace_and_without_one_is_refused(home, tmp_path, monkeypatch):
    with pytest.raises(GscError, match="lies in the workspace itself"):
        back_up(home / "runs" / "b.zip")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(GscError, match="There is no workspace"):
        back_up(tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists() and not (tmp_path / "nowhere").exists()


def test_a_workspace_that_holds_something_stays_as_it_is(home, tmp_path):
    back_up(tmp_path / "b.zip")
    before = files(home)
    ended = gsc("restore", tmp_path / "b.zip")
    assert ended.code == 2 and "already holds something: choose an empty folder" in ended.err
    assert files(home) == before


Change = Callable[[dict[str, bytes], dict[str, object]], None]


def rewritten(backup: Path, change: Change, *, relist: bool = True) -> Path:
    """A backup whose files, or list, were changed; listed anew as a liar would."""
    with zipfile.ZipFile(backup) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content.pop("backup.json"))
    change(content, manifest)
    if relist:
        manifest["files"] = [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
        ]
    hostile = backup.with_name("hostile.zip")
    with zipfile.ZipFile(hostile, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr("backup.json", json.dumps(manifest))
    return hostile


def sql(statement: str) -> Change:
    def change(content: dict[str, bytes], _: dict[str, object]) -> None:
        index = sqlite3.connect(":memory:", isolation_level=None)
        index.deserialize(content["workspace.db"])
        index.execute(statement)
        content["workspace.db"] = index.serialize()

    return change


def added(name: str) -> Change:
    return lambda content, _: content.update({name: b"x"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (added("../outside"), "a name that could lead outside its folder"),
        (added("/outside"), "a name that could lead outside its folder"),
        (added("runs\\outside"), "a name that could lead outside its folder"),
        (added(".streamlit/config.toml"), "holds hidden files"),
        (added("policy.toml/x"), "uses a name twice"),
        (lambda content, _: content.pop("workspace.db"), "has no index"),
        (lambda content, _: content.update({"workspace.db": b"x" * 99}), "file is not a database"),
        (sql("CREATE TRIGGER t AFTER INSERT ON job BEGIN DELETE FROM job; END"), "with code in it"),
        (sql("CREATE VIEW v AS SELECT 1"), "with code in it"),
        (sql("PRAGMA user_version = 99"), "newer version"),
        (sql("UPDATE storedset SET folder = '/etc'"), "leads out of its workspace"),
        (sql("UPDATE storedset SET folder = folder || '/../../..'"), "leads out of its workspace"),
        (sql("UPDATE storedset SET id = '../../x' WHERE role = 'id'"), "leads out"),
        (sql("UPDATE storedmodel SET id = '..'"), "leads out of its workspace"),
        (sql("""UPDATE storedmodel SET spec = '{"checkpoint": "/etc/passwd"}'"""), "leads out"),
        (sql("UPDATE storedmodel SET spec = '[1]'"), "leads out"),
        (sql("UPDATE job SET subject = '../x' WHERE kind = 'AUDIT'"), "leads out"),
        (lambda _, manifest: manifest.update(version=2), "newer version"),
        (lambda _, manifest: manifest.update(format="x"), "is not a backup of GSC Audit"),
        (lambda _, manifest: manifest.update(home="relative"), "is not a backup of GSC Audit"),
    ],
)  # fmt: skip
def test_a_backup_made_to_harm_is_refused(change, said, home, tmp_path):
    back_up(tmp_path / "b.zip")
    hostile = rewritten(tmp_path / "b.zip", change)
    with pytest.raises(GscError) as error:
        restore_into(hostile, tmp_path / "new")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "b.zip", "hostile.zip"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content, _: content.update({"policy.toml": b"other"}), "other files than it lists"),
        (
            lambda content, _: content.update({"policy.toml": b"x" * len(content["policy.toml"])}),
            "is damaged in 'policy.toml'",
        ),
        (lambda content, _: content.pop("policy.toml"), "other files than it lists"),
        (added("more"), "other files than it lists"),
    ],
)
def test_a_file_that_is_not_as_listed_is_refused(change, said, home, tmp_path):
    back_up(tmp_path / "b.zip")
    with pytest.raises(GscError, match=said):
        restore_into(rewritten(tmp_path / "b.zip", change, relist=False), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_backup_is_refused(share, home, tmp_path):
    back_up(tmp_path / "b.zip")
    data = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "torn.zip").write_bytes(data[: int(share * len(data))])
    with pytest.raises(GscError, match="so nothing was restored"):
        restore_into(tmp_path / "torn.zip", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def _emptied(home: Path) -> None:
    """Everything into the trash."""
    for path in (home / "runs").iterdir():
        history.delete_run(path.name)
    for model in models.list_models():
        models.delete_model(model.id)
    for stored in imagesets.list_sets():
        imagesets.delete_set(stored.id)


def test_what_is_in_the_trash_can_be_restored_from_a_backup(home, tmp_path, monkeypatch):
    def records(folder: Path) -> list[str]:
        everything = [*models.list_models(), *imagesets.list_sets(), *queue.jobs()]
        return sorted(each.model_dump_json().replace(str(folder), "") for each in everything)

    def stored(folder: Path) -> set[str]:
        return {n for n in files(folder) if n.startswith(("runs/", "models/", "imagesets/"))}

    before, names = records(home), stored(home)
    _emptied(home)
    back_up(tmp_path / "b.zip")
    restore_into(tmp_path / "b.zip", tmp_path / "new")
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "new"))
    assert not models.list_models()
    for entry in trash.entries():
        trash.restore(entry.id)
    assert (records(tmp_path / "new"), stored(tmp_path / "new")) == (before, names)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE deleted SET rows = json_set(rows, '$.folder', '../..')",
        "UPDATE deleted SET rows = json_set(rows, '$.folder', '/etc')",
        "UPDATE deleted SET rows = json_set(rows, '$.folder', 'runs')",
        "UPDATE deleted SET rows = '[1]'",
        "UPDATE deleted SET rows = '{'",
        "UPDATE deleted SET subject = '../x' WHERE what = 'run'",
        "UPDATE deleted SET id = '../x' WHERE what = 'run'",
        "UPDATE deleted SET what = 'share' WHERE what = 'run'",
        "UPDATE deleted SET rows = json_set(rows, '$.records[0][0]', 'Turn')",
        "UPDATE deleted SET rows = json_set(rows, '$.records[0][1].folder', '/etc') "
        "WHERE what = 'set'",
        "UPDATE deleted SET rows = json_set(rows, '$.records[0][1].id', '../x')",
        "UPDATE deleted SET rows = json_set(rows, '$.records[0][1].spec.checkpoint', '/etc/x') "
        "WHERE what = 'model'",
    ],
)
def test_a_trash_that_leads_elsewhere_is_refused(change, home, tmp_path):
    _emptied(home)
    back_up(tmp_path / "b.zip")
    hostile = rewritten(tmp_path / "b.zip", sql(change))
    with pytest.raises(GscError, match="leads out of its workspace"):
        restore_into(hostile, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_honest_copy_of_the_same_is_restored(home, tmp_path):
    """The tests above are refused for what they change."""
    back_up(tmp_path / "b.zip")
    restore_into(rewritten(tmp_path / "b.zip", lambda *_: None), tmp_path / "new")
    assert (tmp_path / "new" / "workspace.db").is_file()
