"""What `gsc doctor` sees: each thing once as it should be, and once as it should not."""

import json
import sqlite3
from pathlib import Path

import pytest
from command_line import gsc
from places import ROOT

from gsc_core.classifier import installation
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, session
from gsc_core.jobs.lane_lock import taken
from gsc_core.workspace.operation.check import Check, Level, worst
from gsc_core.workspace.operation.doctor import examine
from gsc_core.workspace.operation.health import health


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ADDRESS", "MAX_UPLOAD_SIZE"):
        monkeypatch.delenv(f"STREAMLIT_SERVER_{name}", raising=False)
    monkeypatch.delenv("STREAMLIT_SECRETS_FILES", raising=False)
    return tmp_path / "home"


@pytest.fixture
def app(tmp_path) -> Path:
    """A folder to start the app in, set up as ours is."""
    folder = tmp_path / "app"
    folder.joinpath(".streamlit").mkdir(parents=True)
    config = (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    folder.joinpath(".streamlit", "config.toml").write_text(config)
    return folder


def secrets(app: Path, text: str) -> None:
    app.joinpath(".streamlit", "secrets.toml").write_text(text)


def seen(app: Path, name: str) -> Check:
    return next(check for check in examine(app) if check.name == name)


def test_a_new_installation_is_well_but_for_its_login(home, app):
    levels = {check.name: check.level for check in examine(app)}
    assert levels.pop("login") is Level.WARN
    assert levels.pop("disk") in (Level.GOOD, Level.WARN)
    assert levels.pop("uploads") in (Level.GOOD, Level.WARN)
    assert set(levels.values()) == {Level.GOOD}
    assert not home.exists(), "looking makes nothing"


def test_the_command_prints_a_line_a_check_and_exits_2_when_one_is_bad(home, app, monkeypatch):
    ended = gsc("doctor", "--app", app)
    assert ended.code == 0
    assert len(ended.out.splitlines()) >= len(examine(app))
    monkeypatch.setenv("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
    ended = gsc("doctor", "--app", app, "--json")
    assert ended.code == 2
    rows = {row["name"]: row for row in json.loads(ended.out)}
    assert rows["address"]["level"] == rows["login"]["level"] == "bad"
    assert "without a login" in rows["address"]["sentence"]


@pytest.mark.parametrize(
    ("address", "login", "level"),
    [
        ("127.0.0.1", False, Level.GOOD),
        ("::1", False, Level.GOOD),
        ("localhost", False, Level.GOOD),
        ("0.0.0.0", False, Level.BAD),
        ("10.1.2.3", False, Level.BAD),
        ("audit.example.org", False, Level.BAD),
        ("0.0.0.0", True, Level.GOOD),
    ],
)
def test_the_world_meets_a_login(address, login, level, home, app):
    app.joinpath(".streamlit", "config.toml").write_text(f'[server]\naddress = "{address}"')
    if login:
        secrets(app, '[auth]\nredirect_uri = "x"\n[gsc]\nallowed = ["@example.org"]')
    assert seen(app, "address").level is level
    assert seen(app, "login").level is (
        Level.GOOD if login else Level.WARN if level is Level.GOOD else Level.BAD
    )


def test_a_config_without_an_address_listens_everywhere(home, app):
    app.joinpath(".streamlit", "config.toml").write_text("[server]\nport = 1")
    assert seen(app, "address").level is Level.BAD


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("[auth]\n", Level.WARN, "Everybody with an account"),
        ("[auth", Level.BAD, "secrets.toml cannot be read as TOML: nobody is let in."),
        ("[gsc]\nallowed = []", Level.WARN, "No login is set up"),
        ("[auth]\n[gsc]\nshare = false", Level.BAD, "names nobody"),
        ("[auth]\n[gsc]\noperators = ['a@b.org']\nreaders = ['@b.org']", Level.GOOD, "2 names"),
        ("[auth]\n[gsc]\noperatos = ['a@b.org']", Level.BAD, "operatos is not a setting"),
        ("[auth]\n[gsc]\nallowed = 7", Level.BAD, "[gsc] allowed cannot be"),
        ("gsc = 'x'\n[auth]", Level.BAD, "[gsc] is not a table"),
    ],
)
def test_the_login_is_read(text, level, said, home, app):
    secrets(app, text)
    check = seen(app, "login")
    assert check.level is level and said in check.sentence


def test_a_wrong_setting_is_the_first_thing_said(home, app, monkeypatch):
    monkeypatch.setenv("GSC_UPLOAD_TOTAL_MB", "much")
    first = examine(app)[0]
    assert first.level is Level.BAD
    assert first.sentence == "GSC_UPLOAD_TOTAL_MB is 'much': set it to a whole number of MB."


def test_libraries_that_do_not_fit_are_bad(home, app, monkeypatch):
    monkeypatch.setattr(installation, "version", {"torch": "2.0", "torchvision": "0.1"}.get)
    check = seen(app, "torch")
    assert check.level is Level.BAD and "do not fit together" in check.sentence


def test_a_small_disk_a_small_worker_and_limits_that_contradict(home, app, monkeypatch):
    monkeypatch.setenv("GSC_DISK_RESERVE_MB", str(10**9))
    monkeypatch.setenv("GSC_WORKER_MEMORY_MB", "600")
    monkeypatch.setenv("GSC_UPLOAD_SESSION_MB", "5")
    levels = {check.name: check.level for check in examine(app)}
    assert (levels["disk"], levels["memory"], levels["uploads"]) == (
        Level.BAD, Level.WARN, Level.WARN,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b"no database" * 99), "cannot be read"),
        (lambda file: file.write_bytes(file.read_bytes()[:-4096]), "cannot be read (database"),
        (
            lambda file: sqlite3.connect(file, isolation_level=None).execute(
                "PRAGMA user_version = 99"
            ),
            "newer version",
        ),
    ],
)
def test_a_damaged_or_newer_index_is_bad(damage, said, home, app):
    with session() as db:
        db.add(Job(kind=Kind.SET, title="x" * 9000, subject="s", lane=Lane.PREPARE))
    assert seen(app, "workspace").level is Level.GOOD
    damage(home / "workspace.db")
    check = seen(app, "workspace")
    assert check.level is Level.BAD and said in check.sentence


def test_work_that_nobody_takes_is_bad_after_a_while(home, app):
    job = queue.submit(Kind.SET, "reading", "s", {})
    assert seen(app, "workers").level is Level.GOOD
    with session() as db:
        job.created -= 120
        db.add(job)
    assert "no worker takes them (prepare)" in seen(app, "workers").sentence
    with taken(Lane.PREPARE):
        assert seen(app, "workers").level is Level.GOOD
    assert worst(health().checks()) is Level.BAD


def test_health_reads_a_locked_index_without_waiting_for_its_writer(home):
    queue.submit(Kind.SET, "reading", "s", {})
    with session() as db:
        db.connection()  # it holds the write lock
        prepare = next(lane for lane in health().lanes if lane.lane is Lane.PREPARE)
    assert (prepare.queued, prepare.running, prepare.has_worker) == (1, 0, False)


def test_a_clock_that_was_set_back_makes_no_negative_age(home):
    job = queue.submit(Kind.SET, "reading", "s", {})
    with session() as db:
        job.created += 10_000
        db.add(job)
    assert {lane.waiting_s for lane in health().lanes} == {0.0}
