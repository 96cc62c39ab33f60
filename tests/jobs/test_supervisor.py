"""What starts workers and ends those that hang, and what it hands on to them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from browser import PATIENCE
from places import ROOT
from real_workers import FORK, change_job, ended, lane_is_free, now, submit
from states import until

from gsc_core.jobs import lane_lock, limits, queue, supervisor
from gsc_core.jobs.database import ENDED, Kind, Lane, State
from gsc_core.jobs.home import home

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace")]

HANGING = """
import sys, time
sys.path.insert(0, ROOT)
from gsc_core.jobs.database import Kind, Lane
from gsc_core.workspace.cleanup import tidy
from gsc_core.jobs.worker import run_lane

def hang(job, on_progress):
    time.sleep(600)

run_lane(Lane(sys.argv[2]), dict.fromkeys(Kind, hang), tidy, 0)
"""


def test_a_worker_that_hangs_is_ended(tmp_path) -> None:
    (tmp_path / "hang.py").write_text(HANGING.replace("ROOT", repr(str(ROOT))))
    ask = [sys.executable, str(tmp_path / "hang.py"), "worker"]
    stubborn, slow = submit("", kind=Kind.SET), submit("", kind=Kind.TRY)
    workers = [subprocess.Popen([*ask, job.lane]) for job in (stubborn, slow)]
    try:
        until(lambda: now(stubborn).pid and now(slow).pid)
        queue.cancel(stubborn.id)
        assert supervisor.ensure_workers() == [], "each lane has its worker"
        assert [worker.poll() for worker in workers] == [None, None], "they have some time"
        change_job(stubborn, cancel_asked=time.time() - 21)
        change_job(slow, started=time.time() - 301)
        supervisor.ensure_workers()
        assert [worker.wait(PATIENCE) for worker in workers] == [-signal.SIGKILL] * 2
    finally:
        for worker in workers:
            worker.kill()
    assert (now(stubborn).state, now(stubborn).error) == (State.CANCELLED, None)
    assert now(slow).state is State.FAILED
    assert "longer than 5 minutes" in now(slow).error


@pytest.mark.parametrize(("kind", "behind"), [(Kind.SET, 10), (Kind.AUDIT, 10), (Kind.TRY, 5)])
def test_a_worker_and_all_its_threads_step_back_behind_the_app(kind: Kind, behind: int) -> None:
    """Seen from outside, in a real worker that has all its libraries, and in one that it starts."""
    job = submit("go_on", kind=kind)  # nothing that it can do: by then everything is imported
    ours = _priority(os.getpid())
    (worker,) = supervisor.ensure_workers()
    try:
        until(lambda: now(job).state in ENDED)
        assert {_priority(thread) for thread in _threads(worker.pid)} == {min(19, ours + behind)}
        if (sessions := Path(f"/proc/{worker.pid}/autogroup")).exists():
            assert sessions.read_text().endswith(f"nice {behind}\n")
        if ionice := shutil.which("ionice"):
            told = subprocess.check_output([ionice, "-p", str(worker.pid)], text=True)
            assert told.startswith("idle") is (kind is not Kind.TRY)
    finally:
        worker.kill()
    assert _priority(os.getpid()) == ours


def _priority(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def _threads(pid: int) -> list[int]:
    """On Linux each has a priority of its own."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.exists() else [pid]


def test_a_system_that_refuses_a_lower_priority_has_workers_all_the_same(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(os, "getsid", refuse)
    monkeypatch.setenv("PATH", "")  # no ionice
    submit("go_on")
    (worker,) = supervisor.ensure_workers()
    worker.kill()


def test_a_process_that_is_no_worker_is_never_ended() -> None:
    """The number in the lock's file may be another process's by now."""
    other = FORK.Process(target=time.sleep, args=(PATIENCE,))
    other.start()
    job = submit("go_on")
    queue.claim(Lane.PREPARE, other.pid)
    change_job(job, started=time.time() - 10**6)
    with lane_lock.taken(Lane.PREPARE) as lock:
        assert lock is not None
        lock.name(other.pid)
        assert supervisor.ensure_workers() == []
    assert now(job).state is State.RUNNING
    assert other.is_alive()
    other.kill()


def test_keepers_of_several_apps_start_one_worker_together() -> None:
    submit("go_on")  # nothing that the real worker could do: it is ended before
    apps = [FORK.Process(target=_count_started, args=(home() / f"{i}.count",)) for i in range(4)]
    for app in apps:
        app.start()
    assert [ended(app) for app in apps] == [0] * 4
    pid = lane_lock.holder(Lane.PREPARE)
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert sum(int(file.read_text()) for file in home().glob("*.count")) == 1
    until(lambda: lane_is_free(Lane.PREPARE))
    assert supervisor.ensure_workers() == [], "one that ends at once is not started again and again"


def _count_started(file: Path) -> None:
    started = sum(len(supervisor.ensure_workers()) for _ in range(5))
    file.write_text(str(started))


@pytest.mark.parametrize("where", ["elsewhere", "here"])
def test_the_app_keeps_workers_on_one_thread_unless_they_are_elsewhere(where, monkeypatch) -> None:
    """In a process of its own: the thread would go on in those that follow."""
    monkeypatch.setenv("GSC_WORKERS", where)
    submit("go_on")
    app = FORK.Process(target=_keep_for_a_while)
    app.start()
    assert ended(app) == 0
    pid = lane_lock.holder(Lane.PREPARE) if _lock_file().exists() else None
    assert (pid is None) is (where == "elsewhere")
    if pid:
        os.kill(pid, signal.SIGKILL)


def _keep_for_a_while() -> None:
    for _ in range(3):
        supervisor.keep_workers()
    assert [thread.name for thread in threading.enumerate()].count("_keep") == 1
    if os.environ["GSC_WORKERS"] == "here":
        until(lambda: _lock_file().exists() and lane_lock.holder(Lane.PREPARE))
    else:
        time.sleep(1)  # longer than its first look


def _lock_file() -> Path:
    return home() / "worker-prepare.lock"


def test_without_a_workspace_nothing_is_started_or_made() -> None:
    assert supervisor.ensure_workers() == []
    supervisor.serve(0.1)
    assert not home().exists()


def test_what_a_worker_prints_does_not_fill_the_disk() -> None:
    """While it still appends to it, as one that prints a warning for each image does."""
    log = home() / "logs" / "worker-prepare.txt"
    log.parent.mkdir(parents=True)
    submit("go_on")
    with lane_lock.taken(Lane.PREPARE), log.open("ab", buffering=0) as output:
        output.write(b"a line\n" * 700_000)
        supervisor.ensure_workers()
        assert log.stat().st_size == 2**16
        output.write(b"the last\n")
        supervisor.ensure_workers()
    lines = log.read_bytes().splitlines()
    assert (lines[-2:], set(lines[1:-1])) == ([b"a line", b"the last"], {b"a line"})


def test_a_clock_that_was_set_back_keeps_no_lane_waiting() -> None:
    submit("go_on")
    with lane_lock.taken(Lane.PREPARE) as lock:
        assert lock is not None
        lock.name(1)
    ahead = time.time() + 3600
    os.utime(_lock_file(), (ahead, ahead))
    (worker,) = supervisor.ensure_workers()
    worker.kill()
    worker.wait(PATIENCE)


def test_no_secret_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "https_proxy": "http://proxy",
        "GSC_IMAGE_ROOT": "/photos",
        "GSC_PASSWORD": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HF_TOKEN": "x",
        "DATABASE_URL": "x",
        "LD_PRELOAD": "x",
    }
    kept = supervisor.clean_environment(given)
    assert "x" not in kept.values()
    assert {"PATH", "LC_ALL", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"} < set(kept)
    assert kept["GSC_IMAGE_ROOT"] == "/photos"
    assert kept["https_proxy"] == "http://proxy"
    assert Path(kept["GSC_HOME"]).is_absolute()
    monkeypatch.setenv("GSC_IMAGE_ADDRESSES", "s3://bucket/photos")
    kept = supervisor.clean_environment(given)
    assert [name for name, value in kept.items() if value == "x"] == ["AWS_SECRET_ACCESS_KEY"]


def test_a_worker_has_the_threads_that_its_operator_names_else_those_it_may_use() -> None:
    if sys.platform != "linux" or (os.cpu_count() or 1) < 2:
        pytest.skip("a process is bound to one of several cores on Linux only")
    there = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(there)})
        assert limits.cores() == 1
        assert supervisor.clean_environment({})["OMP_NUM_THREADS"] == "1"
        assert supervisor.clean_environment({"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"
    finally:
        os.sched_setaffinity(0, there)


def test_a_workers_threads_sleep_while_they_wait_unless_its_operator_says_otherwise() -> None:
    assert supervisor.clean_environment({})["OMP_WAIT_POLICY"] == "PASSIVE"
    assert (
        supervisor.clean_environment({"OMP_WAIT_POLICY": "ACTIVE"})["OMP_WAIT_POLICY"] == "ACTIVE"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 10**6),
        ({"cpu.max": "0 100000"}, 10**6),
        ({}, 10**6),
    ],
)
def test_a_containers_quota_bounds_the_cores(files, quota, tmp_path, monkeypatch) -> None:
    """Laid at the root of all groups, in which every process is."""
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    assert limits.cores() == min(quota, len(os.sched_getaffinity(0)))


def test_an_audit_that_does_not_notice_its_time_limit_is_ended(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GSC_AUDIT_HOURS", "2")
    (tmp_path / "hang.py").write_text(HANGING.replace("ROOT", repr(str(ROOT))))
    job = submit("", kind=Kind.AUDIT)
    worker = subprocess.Popen([sys.executable, str(tmp_path / "hang.py"), "worker", job.lane])
    try:
        until(lambda: now(job).pid)
        change_job(job, started=time.time() - 2 * 3600 - 50)
        supervisor.ensure_workers()
        assert worker.poll() is None, "it has a minute to stop by itself"
        change_job(job, started=time.time() - 2 * 3600 - 61)
        supervisor.ensure_workers()
        assert worker.wait(PATIENCE) == -signal.SIGKILL
    finally:
        worker.kill()
    assert (now(job).state, now(job).error.split(":")[0]) == (
        State.CANCELLED,
        "It took longer than 2 hours, the limit of this server, so it was cancelled",
    )


def test_a_worker_without_work_ends_with_the_app_that_started_it(tmp_path) -> None:
    """It would hold memory, and on a card more, for minutes after Ctrl-C."""
    job = submit("", kind=Kind.TRY)  # whose lane waits ten minutes for the next
    script = "from gsc_core.jobs import supervisor; print(supervisor.ensure_workers()[0].pid)"
    starter = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    pid = int(starter.stdout)
    until(lambda: now(job).state in ENDED)
    until(lambda: lane_is_free(Lane.EXPLAIN))
    until(lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
