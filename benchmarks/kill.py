"""Audits that are killed again and again, compared with one that nobody disturbed.

    python -m benchmarks.kill [--ways command worker app] [--kills 50] [--seed 0]

The demo's network audits rendered road signs: by the command line, by a worker, and by a worker of
the app. At a moment drawn at random the process is killed (SIGKILL): alone, or with all that it
started; of the app also its server alone. Then the same is asked for again. A job may die twice, as
its third attempt is the last; so each audit is killed twice and then let be. In the end scores and
figures must be those of the undisturbed audit, and nothing half-written may lie about.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import DEMO_WEIGHTS, Sizes, render_demo
from gsc_core.jobs import lane_lock, queue
from gsc_core.jobs.database import ENDED, Kind, Lane, State
from gsc_core.workspace import audits, runs

ROOT = Path(__file__).resolve().parents[1]
SIZES = Sizes(calibration=96, id=560, ood=64)  # a chunk has 512
DETECTORS = ("gsc", "energy", "knn")
PATIENCE_S = 300.0
A_TASK = 2  # kills of one audit


@dataclass
class Outcome:
    """What became of a way: kills, audits, and what differed."""

    way: str
    kills: int
    audits: int
    differences: list[str]

    def line(self) -> str:
        """One line of the report."""
        said = f"{self.kills} kills in {self.audits} audits, {len(self.differences)} differences"
        return "\n    ".join([f"{self.way:<8} {said}", *self.differences])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--kills", type=int, default=50, help="in all ways together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes = []
    # A worker of the app outlives its server, and may write there for a moment longer.
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        spec = specification(folder)
        begun = time.monotonic()
        ended(by_command(spec, folder / "undisturbed"))
        duration = time.monotonic() - begun
        sys.stdout.write(f"undisturbed: {duration:.1f} s\n")
        each = -(-options.kills // len(options.ways))
        for way in options.ways:
            os.environ["GSC_HOME"] = str(folder / way)
            chance = random.Random(f"{way} {options.seed}")
            moment = partial(chance.uniform, 0, duration)
            outcomes.append(killed(way, spec, folder, each, moment))
    total = sum(outcome.kills for outcome in outcomes)
    differences = sum(len(outcome.differences) for outcome in outcomes)
    sys.stdout.write(f"{total} kills, {differences} differences\n")
    return int(differences > 0)


def specification(folder: Path) -> AuditSpec:
    """An audit of some hundred images, in several chunks."""
    signs = render_demo(folder / "signs", sizes=SIZES)
    return AuditSpec(
        model=ModelSpec(checkpoint=DEMO_WEIGHTS),
        id=signs["id"],
        calibration=signs["calibration"],
        ood={"textures": signs["textures"], "noise": signs["noise"]},
        detectors=tuple(DetectorSpec(name=name) for name in DETECTORS),
        batch_size=8,
    )


def killed(
    way: str, spec: AuditSpec, folder: Path, kills: int, moment: Callable[[], float]
) -> Outcome:
    """As many kills as asked for, each at a moment in seconds after the start."""
    outcome = Outcome(way, 0, 0, [])
    while outcome.kills < kills:
        most = min(A_TASK, kills - outcome.kills)
        result, done = WAYS[way](spec, folder / f"{way}-{outcome.audits}", moment, most)
        outcome.kills += done
        outcome.audits += 1
        outcome.differences += [
            f"audit {outcome.audits}: {what}"
            for what in differences(folder / "undisturbed", result)
        ]
        sys.stdout.write(outcome.line() + "\n")
        sys.stdout.flush()
    return outcome


def differences(expected: Path, result: Path) -> Iterator[str]:
    """What is not as in the undisturbed audit."""
    if not (result / "metrics.json").exists():
        yield "there is no result"
        return
    scores = [pd.read_parquet(run / "scores.parquet") for run in (expected, result)]
    if not scores[0].equals(scores[1]):
        yield "other scores"
    documents = [json.loads((run / "metrics.json").read_text()) for run in (expected, result)]
    yield from (
        f"other {part}"
        for part in ("results", "decision")
        if len({json.dumps(d[part]) for d in documents}) > 1
    )
    for left in result.rglob("*"):
        if left.name.endswith(".part") or left.name.startswith(".part-"):
            yield f"{left.name} was left"


# --- three ways of asking ----------------------------------------------------------------------


def command_line(
    spec: AuditSpec, out: Path, moment: Callable[[], float], most: int
) -> tuple[Path, int]:
    """`gsc audit`, killed and given again."""
    done = 0
    while done < most:
        done += kill_after(by_command(spec, out), moment())
    ended(by_command(spec, out))
    return out, done


def worker(spec: AuditSpec, _: Path, moment: Callable[[], float], most: int) -> tuple[Path, int]:
    """`gsc worker`, killed and started again."""
    run_id = audits.submit_audit(spec, "An audit", 0)
    done = 0
    while done < most and not is_over(run_id):
        done += kill_after(started("worker", "--lane", "audit", "--idle", "0"), moment())
    ended(started("worker", "--lane", "audit", "--idle", "0"))
    return runs.run_folder(run_id), done


def app(spec: AuditSpec, _: Path, moment: Callable[[], float], most: int) -> tuple[Path, int]:
    """The app, of which the server, its worker or both are killed."""
    run_id = audits.submit_audit(spec, "An audit", 0)
    done = 0
    while done < most and not is_over(run_id):
        with serving() as server:
            time.sleep(moment())
            victims = [server.pid, *filter(None, [lane_holder()])]
            chosen = [[server.pid], victims[1:], victims][done % 3]
            for pid in chosen or victims:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            done += 1
    with serving():
        wait_for(lambda: is_over(run_id))
    return runs.run_folder(run_id), done


WAYS = {"command": command_line, "worker": worker, "app": app}


def by_command(spec: AuditSpec, out: Path) -> subprocess.Popen[bytes]:
    """The audit as a person asks for it."""
    sets = [word for name, path in spec.ood.items() for word in ("--ood", f"{name}={path}")]
    options = {
        "model": spec.model.checkpoint, "id": spec.id, "calibration": spec.calibration,
        "detectors": ",".join(DETECTORS),
        "batch-size": spec.batch_size, "out": out,
    }  # fmt: skip
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    return started("audit", *words, *sets)


def started(*words: str) -> subprocess.Popen[bytes]:
    """A command of `gsc`, with whatever it starts in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gsc_core", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end, which must be a good one."""
    _, said = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        raise SystemExit(f"It ended with {process.returncode}: {said.decode()[-2000:]}")


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Kill a process, and at every second time its group; 0 where it had ended by itself."""
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
        return 0
    with suppress(ProcessLookupError):
        (os.killpg if int(1000 * seconds) % 2 else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    return 1


def lane_holder() -> int | None:
    """The app's worker, once it has one."""
    with suppress(OSError):
        return lane_lock.holder(Lane.AUDIT) if lane_lock.is_held(Lane.AUDIT) else None
    return None


def is_over(run_id: str) -> bool:
    """Whether the job of a run has ended; only well is right."""
    job = queue.latest(run_id, Kind.AUDIT)
    if job is None or job.state in (State.FAILED, State.CANCELLED):
        raise SystemExit(f"The job ended badly: {job and job.error}")
    return job.state in ENDED


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(0.2)


@contextmanager
def serving() -> Iterator[subprocess.Popen[bytes]]:
    """The app, once it answers; its worker stays when it is killed, as a worker should."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: answers(port))
        yield server
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    health = f"http://127.0.0.1:{port}/_stcore/health"
    with suppress(OSError), urllib.request.urlopen(health, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


if __name__ == "__main__":
    sys.exit(main())
