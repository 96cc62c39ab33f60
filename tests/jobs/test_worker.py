"""Workers as real processes: what they do when jobs fail, are cancelled, or they are killed."""

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from real_workers import (
    change_job,
    ended,
    now,
    started,
    submit,
)
from states import until

from gsc_core.errors import Cancelled
from gsc_core.jobs import queue
from gsc_core.jobs.database import Job, Kind, Lane, State
from gsc_core.jobs.home import home
from gsc_core.jobs.log import log_file
from gsc_core.jobs.progress import Reporter
from gsc_core.progress import Progress

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace")]

LIMITED = pytest.mark.skipif(
    sys.platform != "linux" or Path("/dev/nvidiactl").exists(),
    reason="memory is limited on Linux without CUDA only",
)


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
        change_job(job, finished=time.time() - 86_500)
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
