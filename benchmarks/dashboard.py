"""How fast the dashboard answers, and how much it sends, with a run of 200,000 scored images.

    python -m benchmarks.dashboard [--images 100000] [--rounds 5] [--no-browser]

Builds a workspace in a temporary folder: as many ID as OOD images (four sets), 10,000 calibration
images, ten detectors. Then it starts the real server and opens the pages in Chromium: `drawn` is
from the click on an address until both charts are in the page and the server is at rest. `cold` is
the first look at a run after the server has started, `warm` a later visit by a new browser.
`--no-browser` measures the same through Streamlit's test runner, without what a browser draws.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Browser
from streamlit.testing.v1 import AppTest

from benchmarks.browsing import (
    PATIENCE,
    Measured,
    at_rest,
    chromium,
    cpu_seconds,
    drawn,
    opened,
    serving,
)
from gsc_core.evaluation.intervals import evaluate
from gsc_core.run.layout import METRICS_FILE, SCORES_FILE

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ("energy", "msp", "maxlogit", "react", "knn", "vim", "she", "rmd")
DETECTORS = ("gsc", "gsc-drop", *BASELINES)
OOD_SETS = {"unseen": 0.8, "textures": 1.6, "fog": 2.2, "noise": 3.5}
CALIBRATION = 10_000
PAGES = ("results", "images", "thresholds", "ablation", "report")
DRAWN, STEP, WEIGHT = 3.0, 0.5, 1_000_000  # seconds, seconds, bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000, help="ID images; as many OOD")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        os.environ["GSC_HOME"] = folder
        for run in ("big", "cold"):
            write_run(Path(folder) / "runs" / run, options.images)
        measure = without_browser if options.no_browser else with_browser
        measured = list(measure(options.rounds))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    sys.stdout.write(f"{os.cpu_count()} cores, load over 1, 5 and 15 minutes {load}\n")
    for each in measured:
        sys.stdout.write(each.line() + "\n")
    return int(any(each.limit is not None and each.value > each.limit for each in measured))


def write_run(folder: Path, images: int) -> None:
    """A run folder as an audit leaves it, with normal scores in place of a network's."""
    rng = np.random.default_rng(0)
    sizes = {"calibration": (CALIBRATION, 0.0), "id": (images, 0.0)}
    sizes |= {name: (images // len(OOD_SETS), shift) for name, shift in OOD_SETS.items()}
    each = [size for size, _ in sizes.values()]
    sets = np.repeat(list(sizes), each)
    far = np.repeat([shift for _, shift in sizes.values()], each)
    role = np.where(np.isin(sets, ["id", "calibration"]), sets, "ood")
    number = np.arange(len(sets))
    columns: dict[str, Any] = {
        "set": sets,
        "role": role,
        "file": [f"folder-{i % 100:02}/picture-{i:07}.jpg" for i in number],
        "sha256": [f"{i:064x}" for i in number],
        "label": np.where(role == "ood", -1, number % 1000).astype(np.int32),
        "predicted": (number % 1000).astype(np.int32),
        "confidence": rng.uniform(0.1, 1, len(sets)).astype(np.float32),
    }
    for i, detector in enumerate(DETECTORS):
        scores = (0.4 + i / 10) * far + rng.normal(0, 1, len(sets))
        columns[detector] = scores.astype(np.float32)
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / SCORES_FILE)
    document = {
        "results": [
            row
            for detector in DETECTORS
            for row in rows({name: columns[detector][sets == name] for name in sizes}, detector)
        ],
        "id_accuracy": 0.9,
        "images": {name: {"scored": size} for name, (size, _) in sizes.items()},
    }
    (folder / METRICS_FILE).write_text(json.dumps(document), encoding="utf-8")


def rows(scores: dict[str, Any], detector: str) -> Iterator[dict[str, Any]]:
    """The entries of `results` of one detector."""
    ood = {name: scores[name] for name in OOD_SETS}
    for name, found in evaluate(scores["id"], ood, repeats=20).items():
        row: dict[str, Any] = {"detector": detector, "ood_set": name}
        for metric, interval in found.items():
            row[metric] = interval.value
            row[f"{metric}_low"] = min(interval.low, interval.value)
            row[f"{metric}_high"] = max(interval.high, interval.value)
        yield row


def with_browser(rounds: int) -> Iterator[Measured]:
    """Every figure as a person at a browser meets it."""
    with serving() as (address, server), chromium() as browser:
        first, _ = opened(browser, f"{address}/results?run=big")
        yield Measured("results, very first page of a new server", first, None, "s")
        before = cpu_seconds(server.pid)
        cold, _ = opened(browser, f"{address}/results?run=cold")
        yield Measured("results drawn, cold", cold, DRAWN, "s")
        yield Measured(
            "  of it CPU time of the server", cpu_seconds(server.pid) - before, None, "s"
        )
        known = browser.new_context()  # whose browser has the app's files from its last visit
        opened(known, f"{address}/results?run=big")
        warm = [opened(known, f"{address}/results?run=big")[0] for _ in range(rounds)]
        yield Measured(f"results drawn, warm, median of {rounds}", median(warm), DRAWN, "s")
        yield Measured("results, another detector", detector_step(browser, address), None, "s")
        before = cpu_seconds(server.pid)
        steps = threshold_steps(browser, f"{address}/thresholds?run=big", 2 * rounds)
        yield Measured(f"threshold step, median of {2 * rounds}", median(steps), STEP, "s")
        yield Measured("threshold step, slowest", max(steps), STEP, "s")
        spent = (cpu_seconds(server.pid) - before) / len(steps)
        yield Measured("  CPU time of the server a step, page included", spent, None, "s")
        for page in PAGES:
            _, weight = opened(browser, f"{address}/{page}?run=big")
            yield Measured(f"{page} sends", weight, WEIGHT, "bytes")


def without_browser(rounds: int) -> Iterator[Measured]:
    """The server's part alone: the script of a page, and what it sends."""
    first = timed(page_test("results", "big").run)
    yield Measured("results script, with the imports of a new server", first, None, "s")
    yield Measured("results script, cold", timed(page_test("results", "cold").run), DRAWN, "s")
    warm = [timed(page_test("results", "cold").run) for _ in range(rounds)]
    yield Measured(f"results script, warm, median of {rounds}", median(warm), DRAWN, "s")
    app = page_test("thresholds", "cold").run()
    slider = app.slider(key="threshold_value")
    values = np.linspace(slider.min, slider.max, 2 * rounds + 2)[1:-1]
    steps = [timed(app.slider(key="threshold_value").set_value(float(v)).run) for v in values]
    yield Measured(f"threshold step, median of {len(steps)}", median(steps), STEP, "s")
    for page in PAGES:
        charts = page_test(page, "cold").run().get("plotly_chart")
        weight = sum(len(chart.proto.spec) for chart in charts)
        yield Measured(f"{page}, its charts", weight, WEIGHT, "bytes")


def detector_step(browser: Browser, address: str) -> float:
    """Seconds from choosing another detector until its histograms are drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/results?run=big")
    drawn(page, charts=True)
    page.locator(".st-key-results_detector input").click()
    bars = "document.querySelector('.st-key-results_histogram .trace.bars').innerHTML"
    before = page.evaluate(bars)
    start = time.perf_counter()
    page.get_by_role("option", name="maxlogit").click()
    page.wait_for_function(f"before => {bars} != before", arg=before, timeout=PATIENCE)
    seconds = time.perf_counter() - start
    page.close()
    return seconds


def threshold_steps(browser: Browser, url: str, steps: int) -> list[float]:
    """Seconds from each press of a key on the slider until counts and chart have followed.

    The line in the histogram is sent after the counts: when it has moved, they have.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url)
    slider = page.locator(".st-key-threshold_value input[type=range]")
    slider.wait_for(state="attached", timeout=PATIENCE)
    at_rest(page)
    line = "(document.querySelector('.js-plotly-plot .shapelayer') || {}).innerHTML"
    page.wait_for_function(line, timeout=PATIENCE)
    found = []
    for _ in range(steps):
        before = page.evaluate(line)
        start = time.perf_counter()
        slider.press("ArrowLeft")
        page.wait_for_function(f"before => {line} != before", arg=before, timeout=PATIENCE)
        found.append(time.perf_counter() - start)
        at_rest(page)
    page.close()
    return found


def page_test(page: str, run: str) -> AppTest:
    """A page as Streamlit's test runner shows it, about one run."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    script = f"{path}\nfrom pages import {page}\n{page}.render()"
    app = AppTest.from_string(script, default_timeout=120)
    app.query_params["run"] = run
    return app


def timed(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
