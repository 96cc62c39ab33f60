"""Makes sure that every lane with work has a worker and that none hangs. Runs beside the app.

A worker is a process of its own session: the app's end is not its end, and the keeper of the next
app finds it at work. Many keepers may run: the locks of the lanes leave one worker to each.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import gsc_core
from gsc_core.errors import GscError
from gsc_core.evaluation.counts import number_of
from gsc_core.jobs import queue
from gsc_core.jobs.configuration import FILE, configuration, configuration_file
from gsc_core.jobs.database import DATABASE_FILE, Job, Kind, Lane, State
from gsc_core.jobs.home import HOME, home
from gsc_core.jobs.lane_lock import LaneLock, holder, taken
from gsc_core.jobs.limits import cores, put_behind
from gsc_core.jobs.log import keep_short
from gsc_core.jobs.progress import out_of_time, time_limit

_EVERY = 2.0  # seconds between two looks
RESTART_PAUSE_S = 3.0  # seconds between two starts of a worker that ends at once
_GRACE_S = 60.0  # seconds that a worker has to stop by itself when its time is over
CANCEL_TIMEOUT_S = 20.0  # seconds that a job has for being cancelled
_BEHIND = {Lane.AUDIT: 10, Lane.PREPARE: 10, Lane.EXPLAIN: 5}  # a person waits for the last
_PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TMPDIR|TZ|PYTHONPATH|VIRTUAL_ENV|LD_LIBRARY_PATH"
    r"|(GSC|OMP|MKL|CUDA|NVIDIA|PYTORCH)_\w+|TORCH_HOME|HF_HOME|HF_HUB_OFFLINE|XDG_CACHE_HOME"
    r"|SSL_CERT_(FILE|DIR)|(?i:(https?|all|no)_proxy)"
)
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)
_OF_CLOUDS = re.compile(r"(AWS|GOOGLE|AZURE|CLOUD_STORAGE)_\w+")
"""Read there, where addresses are allowed."""
_LOG = logging.getLogger(__name__)
_starting = threading.Lock()


def ensure_workers() -> list[subprocess.Popen[bytes]]:
    """Start a worker for each lane that has work and none, and end those that hang.

    Gives the workers it started. Raises GscError or OSError when the workspace cannot be used.
    """
    return [worker for lane in _with_work() if (worker := _ensure(lane))]


def keep_workers() -> None:
    """Call `ensure_workers` every 2 s on a thread, one for this process however often called.

    With GSC_WORKERS=elsewhere it starts none: the operator runs `gsc worker`.
    """
    with _starting:
        if not any(thread.name == _keep.__qualname__ for thread in threading.enumerate()):
            threading.Thread(target=_keep, name=_keep.__qualname__, daemon=True).start()


def serve(idle_after: float | None) -> None:
    """`ensure_workers` again and again until Ctrl-C, SIGTERM, or `idle_after` s without work.

    The workers it started are told to end with it; their jobs go back into the queue.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    started: list[subprocess.Popen[bytes]] = []
    last = time.monotonic()
    try:
        while idle_after is None or time.monotonic() - last < idle_after:
            started = [worker for worker in started if worker.poll() is None] + ensure_workers()
            if _with_work():
                last = time.monotonic()
            time.sleep(_EVERY / 2)
    except KeyboardInterrupt:
        _LOG.info("told to end")
    finally:
        signal.signal(signal.SIGTERM, before)
        _end(started)


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a worker may know of its starter's environment: a model file may turn against it.

    Where its group has a quota, a worker computes in as many threads: libraries count the machine's
    cores. Otherwise it uses all that there are, being behind the app on each of them: leaving one
    of two cores free made an audit longer and no page quicker (`benchmarks/answering.py`). A thread
    that waits for another one sleeps: where the app has the core of that other, it can move here.
    """
    threads = {"OMP_WAIT_POLICY": "PASSIVE"}
    if cores() < (os.cpu_count() or 1):
        threads["OMP_NUM_THREADS"] = str(cores())
    environment = {
        n: v for n, v in given.items() if _PASSED_ON.fullmatch(n) and not _SECRET.search(n)
    }
    if configuration().image_addresses:
        environment |= {n: v for n, v in given.items() if _OF_CLOUDS.fullmatch(n)}
    code = str(Path(gsc_core.__file__).parents[1])
    paths = [code, *filter(None, [environment.get("PYTHONPATH")])]
    places = {"PYTHONPATH": os.pathsep.join(paths), HOME: str(home())}
    if (file := configuration_file()).exists():  # a worker's folder is another
        places[FILE] = str(file)
    return threads | environment | places


def _keep() -> None:
    while True:
        try:
            if configuration().workers == "here":
                ensure_workers()
        except (GscError, OSError) as error:
            _LOG.warning("no worker could be started: %s", error)
        # The thread must outlive whatever goes wrong once: without it no audit would start.
        except Exception:
            _LOG.exception("keeping workers")
        time.sleep(_EVERY)


def _with_work() -> list[Lane]:
    """Lanes with work; none, and none made, where nobody asked yet or the workspace was deleted."""
    if not (home() / DATABASE_FILE).exists():
        return []
    return [lane for lane in Lane if queue.waiting(lane)]


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(CANCEL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            worker.kill()


def _ensure(lane: Lane) -> subprocess.Popen[bytes] | None:
    keep_short(_output(lane))
    with taken(lane) as lock:
        if lock is None:
            _end_if_hanging(lane)
            return None
        if 0 <= time.time() - lock.named() < RESTART_PAUSE_S:  # the clock may have been set back
            return None
        return _start(lane, lock)


def _start(lane: Lane, lock: LaneLock) -> subprocess.Popen[bytes]:
    """A worker that holds the lock from its first moment on."""
    log = _output(lane)
    log.parent.mkdir(exist_ok=True)
    descriptor = lock.file.fileno()
    # -P: a file that lies in the working directory is never imported
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "gsc_core", "worker"]
    with log.open("ab") as output:  # appending, which `keep_short` counts on
        worker = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--lane", lane, "--lock", str(descriptor), "--starter", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home(),
            env=clean_environment(os.environ),
            pass_fds=[descriptor],
            start_new_session=True,
        )
    put_behind(worker.pid, _BEHIND[lane], idle_disk=lane is not Lane.EXPLAIN)
    lock.name(worker.pid)
    threading.Thread(target=worker.wait, daemon=True).start()  # or it stays as a zombie
    return worker


def _output(lane: Lane) -> Path:
    return home() / "logs" / f"worker-{lane}.txt"


def _end_if_hanging(lane: Lane) -> None:
    job = queue.running(lane)
    if job is None or job.pid is None:
        return
    state, sentence = _verdict(job, time.time())
    if state is not None and holder(lane) == job.pid and _is_worker(job.pid, lane):
        queue.end(job.id, state, sentence)  # first, so that no worker takes it up again
        os.kill(job.pid, signal.SIGKILL)


def _verdict(job: Job, now: float) -> tuple[State | None, str | None]:
    if job.cancel_asked is not None and now - job.cancel_asked > CANCEL_TIMEOUT_S:
        return State.CANCELLED, None
    limit = time_limit(job)
    if limit is not None and job.started is not None and now - job.started > limit + _GRACE_S:
        return State.CANCELLED, out_of_time(limit)
    minutes = _minutes(job.kind)
    if minutes is not None and job.started is not None and now - job.started > 60 * minutes:
        return State.FAILED, (
            f"It took longer than {number_of(minutes, 'minute')}, so it was stopped: "
            "try again, or try something smaller."
        )
    return None, None


def _minutes(kind: Kind) -> int | None:
    """What a job may take; None where that is not limited."""
    match kind:
        case Kind.MODEL:
            return configuration().model_minutes
        case Kind.SET | Kind.SURROGATES | Kind.REMAINDER | Kind.TRY_MANY:
            return configuration().set_minutes
        case Kind.EXPLAIN | Kind.TRY:
            return configuration().image_minutes
    return None


def _is_worker(pid: int, lane: Lane) -> bool:
    """Whether a process is our worker, where the system tells: its number may be another's now."""
    if not Path("/proc/self").exists():
        return True
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"worker" in words and lane.encode() in words
