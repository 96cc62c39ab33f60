"""Audits in real workers: killed, resumed, served by the operator's own worker, limited in time."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small_audit
from browser import PATIENCE
from places import ROOT
from real_workers import ended, lane_is_free, now, started, submit
from states import until

from gsc_core.audit.run import run_audit
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec, Preprocessing
from gsc_core.jobs import queue, supervisor
from gsc_core.jobs.database import ENDED, Kind, Lane, State
from gsc_core.jobs.home import home
from gsc_core.jobs.log import log_file
from gsc_core.scoring.chunks import CHUNK_IMAGES
from gsc_core.workspace import audits

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workspace")]

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
    assert lane_is_free(Lane.AUDIT), "no worker is left"


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
