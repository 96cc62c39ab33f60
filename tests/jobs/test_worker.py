"""Workers as real processes: what they do when jobs fail, are cancelled, or they are killed."""

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small_audit
import torch
from browser import PATIENCE
from places import ROOT
from states import until

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.errors import Cancelled, GscError
from gsc_core.jobs import lane_lock, limits, queue, supervisor
from gsc_core.jobs.database import ENDED, Job, Kind, Lane, State, session
from gsc_core.jobs.home import home
from gsc_core.jobs.log import log_file
from gsc_core.jobs.progress import Reporter
from gsc_core.jobs.worker import run_lane
from gsc_core.progress import Progress
from gsc_core.scoring.chunks import CHUNK_IMAGES
from gsc_core.workspace import audits
from gsc_core.workspace.cleanup import tidy

pytestmark = pytest.mark.slow

FORK = multiprocessing.get_context("fork")  # torch is imported already
Step = Callable[[Progress], None]
LIMITED = pytest.mark.skipif(
    sys.platform != "linux" or Path("/dev/nvidiactl").exists(),
    reason="memory is limited on Linux without CUDA only",
)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))


def submit(do: str, subject: str = "s", kind: Kind = Kind.SET) -> Job:
    return queue.submit(kind, do, subject, {"do": do})


def now(job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


def started(lane: Lane = Lane.PREPARE, idle: float = 0) -> multiprocessing.Process:
    """A worker process whose jobs do what their payload says."""
    tasks = dict.fromkeys(Kind, perform)
    process = FORK.Process(target=run_lane, args=(lane, tasks, tidy, idle))
    process.start()
    return process


def ended(process: multiprocessing.Process) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def perform(job: Job, on_progress: Step) -> None:
    globals()[job.payload["do"]](job, on_progress)


# --- what a job may do: each of them a real thing ---------------------------------------------


def write_pid(job: Job, on_progress: Step) -> None:
    with (home() / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.1)


def go_on(job: Job, on_progress: Step) -> None:
    for done in range(10**9):
        on_progress(Progress("going on", done % 1000, 1000))
        time.sleep(0.01)


def fail(job: Job, on_progress: Step) -> None:
    raise GscError("The file holds no image: choose another.")


def stumble(job: Job, on_progress: Step) -> None:
    raise ValueError("an inner matter")


def fill_the_disk(job: Job, on_progress: Step) -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def miss_a_file(job: Job, on_progress: Step) -> None:
    Path("/nowhere/at/all").read_bytes()


def ask_too_much(job: Job, on_progress: Step) -> None:
    bytearray(2**60)


def fill_memory(job: Job, on_progress: Step) -> None:
    """Nothing is written to it, so that it costs nothing: it is the limit that stops it."""
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= limits.memory()
    hoard = []
    while True:
        hoard.append(torch.empty(2**30, dtype=torch.uint8))
        assert len(hoard) * 2**30 < 2 * limits.memory(), "no limit"


def die(job: Job, on_progress: Step) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- one job ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "sentence"),
    [
        ("fail", "The file holds no image: choose another."),
        ("stumble", "Something unexpected went wrong; the log says what (logs/JOB.txt)"),
        ("fill_the_disk", "The disk is full"),
        ("miss_a_file", "/nowhere/at/all cannot be used (No such file or directory)"),
        ("ask_too_much", "Memory ran out"),
        pytest.param("fill_memory", "Memory ran out", marks=LIMITED),
    ],
)
def test_a_failure_is_one_sentence_and_the_lane_goes_on(do: str, sentence: str) -> None:
    job = submit(do)
    assert ended(started()) == 0
    failed = now(job)
    assert failed.state is State.FAILED
    assert sentence.replace("JOB", job.id) in failed.error
    assert "Traceback" not in failed.error
    log = log_file(job).read_text()
    assert ("Traceback" in log) is (do != "fail")
    assert failed.error in log

    after = submit("write_pid")
    assert ended(started()) == 0
    assert now(after).state is State.DONE
    assert not log_file(after).exists(), "it has nothing to tell"
    assert now(after).finished > now(after).started


def test_a_worker_that_ran_out_of_memory_makes_way_for_a_new_one() -> None:
    submit("ask_too_much")
    assert ended(started(idle=600)) == 0


def test_an_audits_log_lies_with_its_run() -> None:
    job = submit("fail", "abc", Kind.AUDIT)
    assert log_file(job) == home() / "runs" / "abc" / "log.txt"
    assert ended(started(Lane.AUDIT)) == 0
    first, *_, last = log_file(job).read_text().splitlines()
    assert time.strftime("%Y-%m-%dT%H:", time.gmtime()) in first
    assert last.endswith("failed: The file holds no image: choose another.")


def test_cancel_stops_a_running_job_after_the_batch_at_hand() -> None:
    job, waiting = submit("go_on"), submit("go_on")
    worker = started()
    until(lambda: now(job).done > 0)
    assert now(job).pid == worker.pid
    assert now(job).phase == "going on"
    queue.cancel(waiting.id)
    queue.cancel(job.id)
    assert ended(worker) == 0
    assert (now(job).state, now(job).error, now(job).pid) == (State.CANCELLED, None, None)
    assert (now(waiting).state, now(waiting).attempts) == (State.CANCELLED, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_end_puts_its_job_back(number: int) -> None:
    job = submit("go_on")
    worker = started(idle=600)
    until(lambda: now(job).done > 0)
    os.kill(worker.pid, number)
    assert ended(worker) == 0
    assert (now(job).state, now(job).attempts, now(job).done) == (State.QUEUED, 0, 0)


def test_three_deaths_are_enough() -> None:
    job, after = submit("die"), submit("write_pid")
    for attempt in (1, 2, 3):
        assert ended(started()) == -signal.SIGKILL
        assert (now(job).state, now(job).attempts) == (State.RUNNING, attempt)
    assert ended(started()) == 0
    assert now(job).state is State.FAILED
    assert "stopped three times" in now(job).error
    assert now(after).state is State.DONE, "the lane is free again"


def test_one_worker_a_lane() -> None:
    jobs = [submit("write_pid") for _ in range(5)]
    workers = [started(idle=0.5) for _ in range(3)]
    assert [ended(worker) for worker in workers] == [0, 0, 0]
    assert {now(job).state for job in jobs} == {State.DONE}
    assert len(set((home() / "pids").read_text().split())) == 1
    other = started(Lane.EXPLAIN)
    assert ended(other) == 0


def test_a_worker_whose_workspace_is_gone_ends_and_does_not_bring_it_back(tmp_path) -> None:
    job = submit("write_pid")
    worker = started(idle=600)
    until(lambda: now(job).state is State.DONE)
    home().rename(tmp_path / "moved")
    assert ended(worker) == 0
    assert not home().exists()


def test_a_job_whose_workspace_is_deleted_ends_and_does_not_bring_it_back(tmp_path) -> None:
    job = submit("go_on")
    worker = started(idle=600)
    until(lambda: now(job).done > 0)
    home().rename(tmp_path / "moved")
    assert ended(worker) == 0
    assert not home().exists()


def test_a_worker_that_starts_removes_what_crashes_left() -> None:
    folders = [home() / kept / name for kept, name in LEFT]
    log = home() / "logs" / "0123456789ab.txt"
    log.parent.mkdir(parents=True)
    log.write_text("of a job that failed")
    for folder in folders:
        (folder / "more").mkdir(parents=True)
    old, fresh, audit = submit("", kind=Kind.TRY), submit("", kind=Kind.TRY), submit("", "s")
    for job in (old, fresh, audit):
        queue.cancel(job.id)
    assert ended(started()) == 0
    assert all(folder.exists() for folder in folders) and log.exists() and now(old)

    for job in (old, audit):
        _change(job, finished=time.time() - 86_500)
    for path in (*folders, log):
        long_ago = time.time() - 31 * 86_400
        os.utime(path, (long_ago, long_ago))
    assert ended(started()) == 0
    assert [folder.exists() for folder in folders] == [False, False, False, True, True]
    assert not log.exists()
    assert {job.id for job in queue.jobs()} == {fresh.id, audit.id}


LEFT = (
    ("imagesets", ".part-abc"),
    ("models", ".part-abc"),
    ("runs", ".deleted-0123456789ab"),
    ("imagesets", "0123456789ab"),
    ("imagesets", ".of-somebody"),
)


# --- progress ---------------------------------------------------------------------------------


def test_progress_counts_pictures_that_pass_the_network_and_how_fast() -> None:
    job = queue.submit(Kind.AUDIT, "a", "a", {}, images_total=1000)
    queue.claim(Lane.AUDIT, 1)
    clock = [0.0]
    told = Reporter(job, lambda: False, lambda: clock[0])

    def step(at: float, phase: str, done: int, total: int) -> Job:
        clock[0] = at
        told(Progress(phase, done, total))
        return now(job)

    assert step(0, "opening the model", 0, 1).phase == "opening the model"
    assert step(1, "reading the images", 900, 1000).images_done == 0
    assert step(2, "calibrating", 10, 100).images_done == 10
    assert step(2.1, "calibrating", 12, 100).images_done == 10, "not at every batch"
    assert step(4, "calibrating", 50, 100).rate == pytest.approx(20)
    assert step(6, "scoring surrogate outliers", 8, 80).images_done == 58, "a new phase at once"
    assert step(10, "calibrating", 100, 100).images_done == 108
    kept = step(11, "scoring id", 512, 700)
    assert (kept.images_done, kept.rate) == (620, pytest.approx(20)), "chunks of before: no pace"
    assert step(13, "scoring id", 572, 700).rate == pytest.approx(30)
    for at in range(14, 40):
        last = step(at, "scoring id", 572 + 2 * (at - 13), 700)
    assert last.rate == pytest.approx(2), "of the last ten seconds"


def test_without_a_known_total_the_phase_at_hand_is_counted() -> None:
    job = submit("go_on")
    queue.claim(Lane.PREPARE, 1)
    Reporter(job, lambda: False)(Progress("reading the images", 3, 9))
    assert (now(job).done, now(job).total, now(job).images_done) == (3, 9, 3)


def test_an_index_that_cannot_be_written_does_not_stop_the_work() -> None:
    job = submit("go_on")
    queue.claim(Lane.PREPARE, 1)
    told = Reporter(job, lambda: False)
    (home() / "workspace.db").write_bytes(b"nothing of use" * 100)
    told(Progress("reading the images", 1, 9))


def test_a_locked_index_is_waited_for() -> None:
    job = submit("go_on")
    worker = started()
    until(lambda: now(job).done > 0)
    with sqlite3.connect(home() / "workspace.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(1.5)
        other.execute("ROLLBACK")
    before = now(job).done
    until(lambda: now(job).done != before)
    queue.cancel(job.id)
    assert ended(worker) == 0
    with pytest.raises(Cancelled):
        Reporter(job, lambda: False)(Progress("after its end", 0, 1))


# --- the keeper -------------------------------------------------------------------------------

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
        _change(stubborn, cancel_asked=time.time() - 21)
        _change(slow, started=time.time() - 301)
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
    _change(job, started=time.time() - 10**6)
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
    until(lambda: _free(Lane.PREPARE))
    assert supervisor.ensure_workers() == [], "one that ends at once is not started again and again"


def _count_started(file: Path) -> None:
    started = sum(len(supervisor.ensure_workers()) for _ in range(5))
    file.write_text(str(started))


def _free(lane: Lane) -> bool:
    with lane_lock.taken(lane) as lock:
        return lock is not None


def _change(job: Job, **values: float) -> None:
    with session() as db:
        found = db.get(Job, job.id)
        found.sqlmodel_update(values)
        db.add(found)


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


# --- a real audit -----------------------------------------------------------------------------

STRANGERS = 2 * CHUNK_IMAGES + 100


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> AuditSpec:
    folder = tmp_path_factory.mktemp("stage")
    small_audit.save_program(folder / "small.pt2")
    return AuditSpec(
        model=ModelSpec(
            checkpoint=folder / "small.pt2",
            preprocessing=Preprocessing.parse(small_audit.PREPROCESS),
        ),
        id=small_audit.known(folder / "id", 80, seed=11),
        calibration=small_audit.known(folder / "calibration", 60, seed=12),
        ood={"noise": small_audit.strange(folder / "noise", STRANGERS, seed=13)},
        detectors=tuple(DetectorSpec(name=name) for name in ("gsc", "energy")),
        batch_size=8,  # slow enough to be interrupted
        repeats=20,
    )


def test_an_audit_whose_worker_is_killed_goes_on_from_its_last_chunk(
    stage, tmp_path, monkeypatch
) -> None:
    whole = run_audit(stage, tmp_path / "whole").path
    monkeypatch.setenv("UNRELATED_SECRET", "not for the worker")
    run_id = audits.submit_audit(stage, "An audit", 60 + 60 + 80 + STRANGERS)
    folder = home() / "runs" / run_id
    job = queue.latest(run_id)
    assert job is not None

    (first,) = supervisor.ensure_workers()
    assert supervisor.ensure_workers() == []
    until(lambda: now(job).phase == "scoring noise" and now(job).done > CHUNK_IMAGES)
    assert now(job).pid == first.pid
    _is_set_apart(first.pid)
    first.kill()
    until(lambda: first.poll() is not None)
    assert now(job).state is State.RUNNING, "nobody has noticed yet"
    kept = len(list((folder / "chunks").glob(f"{b'noise'.hex()}-*.parquet")))
    assert 1 <= kept <= 2

    begun: list[subprocess.Popen[bytes]] = []
    until(lambda: begun or begun.extend(supervisor.ensure_workers()))
    until(lambda: now(job).state in ENDED)
    begun[0].terminate()
    assert (now(job).state, now(job).error, now(job).attempts) == (State.DONE, None, 2)
    assert f"scoring noise, {kept * CHUNK_IMAGES} of {STRANGERS}" in log_file(job).read_text()
    for file in ("scores.parquet", "metrics.json"):
        assert (folder / file).exists()
    assert _scores(folder).equals(_scores(whole))
    assert begun[0].wait(PATIENCE) == 0


def _scores(folder: Path):
    return pq.ParquetFile(folder / "scores.parquet").read()


def _is_set_apart(pid: int) -> None:
    environment = Path(f"/proc/{pid}/environ").read_text()
    assert "GSC_HOME=" in environment
    assert "UNRELATED_SECRET" not in environment
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
    assert os.getsid(pid) == pid, "the end of the app is not its end"
    assert "Max core file size        0" in Path(f"/proc/{pid}/limits").read_text()


def test_the_operators_worker_serves_all_lanes_until_told_to_end(stage) -> None:
    run_id = audits.submit_audit(stage, "An audit", STRANGERS)
    job = queue.latest(run_id)
    assert job is not None
    server = subprocess.Popen([sys.executable, "-m", "gsc_core", "worker"], cwd=ROOT)
    try:
        until(lambda: now(job).phase.startswith("scoring"))
        server.terminate()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
    assert (now(job).state, now(job).attempts) == (State.QUEUED, 0)
    assert _free(Lane.AUDIT), "no worker is left"


def test_an_audit_has_a_time_limit_and_keeps_what_is_done(monkeypatch) -> None:
    """A real audit of the small network: stopped in the middle, it goes on when it is resumed."""
    monkeypatch.setenv("GSC_AUDIT_HOURS", f"{0.5 / 3600}")
    job = submit("go_on", kind=Kind.AUDIT)
    worker = started(Lane.AUDIT)
    assert ended(worker) == 0
    assert now(job).state is State.CANCELLED
    assert now(job).error.startswith("It took longer than 0.0001")
    assert "resume it" in now(job).error
    other = submit("go_on", kind=Kind.SET)  # which has another limit
    process = started(Lane.PREPARE)
    until(lambda: now(other).done > 100)
    queue.cancel(other.id)
    assert ended(process) == 0
    assert now(other).error is None


def test_an_audit_that_does_not_notice_its_time_limit_is_ended(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GSC_AUDIT_HOURS", "2")
    (tmp_path / "hang.py").write_text(HANGING.replace("ROOT", repr(str(ROOT))))
    job = submit("", kind=Kind.AUDIT)
    worker = subprocess.Popen([sys.executable, str(tmp_path / "hang.py"), "worker", job.lane])
    try:
        until(lambda: now(job).pid)
        _change(job, started=time.time() - 2 * 3600 - 50)
        supervisor.ensure_workers()
        assert worker.poll() is None, "it has a minute to stop by itself"
        _change(job, started=time.time() - 2 * 3600 - 61)
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
    until(lambda: _free(Lane.EXPLAIN))
    until(lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
