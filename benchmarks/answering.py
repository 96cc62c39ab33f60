"""How fast the app answers while an audit takes the machine, and what the answers cost the audit.

    python -m benchmarks.answering [--id FOLDER --ood FOLDER] [--images 2000] [--visitors 10]

Starts the real server on a temporary workspace and audits EfficientNet-Lite0 twice, with the
detectors that the app proposes: first alone, then while people come, one after another. Each has a
browser of their own that was never here and opens Runs, then Results of the first audit. The ratio
is that of the two audits' own time, in worker processes started afresh. People's browsers run on
machines of their own; here Chromium takes its time from the same cores, most of what the audit
loses, so the limit is on the ratio without it. Half of the images are taken from each folder;
without folders, images of the demo are rendered.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from playwright.sync_api import Browser

from benchmarks.browsing import Measured, chromium, cpu_seconds, opened, serving
from benchmarks.overhead import PREPROCESSING, lite0
from gsc_core.audit.spec import AuditSpec, DetectorSpec
from gsc_core.classifier import ModelSpec
from gsc_core.demo import render_demo
from gsc_core.jobs import lane_lock, queue
from gsc_core.jobs.database import ENDED, Job, Lane, State
from gsc_core.jobs.limits import cores
from gsc_core.workspace import audits
from pages.parts.new_audit.detectors import USUAL

DRAWN, SLOWER = 5.0, 1.1  # seconds, times
IMAGES = {".jpg", ".jpeg", ".png"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--id", type=Path, help="folder of photos the classifier was made for")
    parser.add_argument("--ood", type=Path, help="folder of photos it was not made for")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--visitors", type=int, default=10)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["GSC_HOME"] = str(folder / "home")
        known, strange = options.id, options.ood
        if known is None or strange is None:
            rendered = render_demo(folder / "rendered")
            known, strange = rendered["id"], rendered["textures"]
        spec = specification(folder, known, strange, options.images // 2)
        measured = list(measure(spec, options.images, options.visitors))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    sys.stdout.write(f"{os.cpu_count()} cores, load over 1, 5 and 15 minutes {load}\n")
    for each in measured:
        sys.stdout.write(each.line() + "\n")
    return int(any(each.limit is not None and each.value > each.limit for each in measured))


def specification(folder: Path, known: Path, strange: Path, each: int) -> AuditSpec:
    """An audit as the app would ask for it."""
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(lite0(), (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "lite0.pt2")
    return AuditSpec(
        model=ModelSpec(checkpoint=folder / "lite0.pt2", preprocessing=PREPROCESSING),
        id=copies(known, folder / "id", each),
        ood={"unfamiliar": copies(strange, folder / "ood", each)},
        detectors=tuple(DetectorSpec(name=name) for name in USUAL),
    )


def copies(source: Path, folder: Path, number: int) -> Path:
    """So many images; where there are fewer, they come again with other bytes behind their end."""
    folder.mkdir()
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGES)
    for i, path in enumerate(islice(cycle(found), number)):
        again = f"\0{i}".encode() if i >= len(found) else b""
        (folder / f"{i:05}{path.suffix}").write_bytes(path.read_bytes() + again)
    return folder


def measure(spec: AuditSpec, images: int, visitors: int) -> Iterator[Measured]:
    """Both audits, the visits, and whose processor time it was."""
    with serving() as (address, server), chromium() as browser:
        opened(browser, f"{address}/runs")  # the app keeps workers from its first visit on
        first = started(spec, images)
        until(lambda: now(first).state in ENDED)
        alone = seconds(first)
        replace_worker()
        results = f"{address}/results?run={first.subject}"
        opened(browser, results)

        job = started(spec, images)
        until(lambda: now(job).done > 0)
        before = cpu_seconds(server.pid), spent_by_browser(server.pid)
        visits = [visited(browser, address, job, results) for _ in range(visitors)]
        after = cpu_seconds(server.pid), spent_by_browser(server.pid)
        at_work = now(job).state is State.RUNNING
        until(lambda: now(job).state in ENDED)
        together = seconds(job)
    for page, each in zip(("Runs", "Results"), zip(*visits, strict=True), strict=True):
        yield Measured(f"{page}, median of {visitors}", median(each), None, "s")
        yield Measured(f"{page}, slowest", max(each), DRAWN, "s")
    yield Measured("all visits", sum(map(sum, visits)), None, "s")
    yield Measured("  CPU time of the server", after[0] - before[0], None, "s")
    yield Measured("  CPU time of the browser", after[1] - before[1], None, "s")
    yield Measured("audit alone", alone, None, "s")
    yield Measured(f"audit with {visitors} visitors", together, None, "s")
    yield Measured("  ratio", together / alone, None, "times")
    elsewhere = together - (after[1] - before[1]) / cores()
    yield Measured("  ratio, had the browser run elsewhere", elsewhere / alone, SLOWER, "times")
    if not at_work:
        sys.stdout.write("The audit ended before the last visit: give it more images.\n")


def started(spec: AuditSpec, images: int) -> Job:
    """An audit in the queue of the app."""
    job = queue.latest(audits.submit_audit(spec, f"audit {time.time():.0f}", images))
    assert job is not None
    return job


def now(job: Job) -> Job:
    found = queue.get(job.id)
    assert found is not None
    return found


def seconds(job: Job) -> float:
    """How long its worker was at it."""
    ended = now(job)
    assert ended.state is State.DONE, ended.error
    assert ended.started is not None and ended.finished is not None
    return ended.finished - ended.started


def replace_worker() -> None:
    """End the worker, so that the next audit finds as little in memory as this one did."""
    pid = lane_lock.holder(Lane.AUDIT)
    if pid:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists())


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.2)


def visited(browser: Browser, address: str, job: Job, results: str) -> tuple[float, float]:
    """Seconds until a newcomer has Runs before them, then Results."""
    with browser.new_context() as context:
        runs, _ = opened(context, f"{address}/runs?run={job.subject}")
        return runs, opened(context, results)[0]


def spent_by_browser(server: int) -> float:
    """CPU time of Chromium and its driver: all that this process started, except the server."""
    parents = {int(stat.parent.name): _parent(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
    ours, found = {os.getpid()}, 0.0
    while ours := {pid for pid, parent in parents.items() if parent in ours and pid != server}:
        for pid in ours:
            try:
                found += cpu_seconds(pid, with_children=True)
            except FileNotFoundError:  # ended just now: its parent counts it
                continue
    return found


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
