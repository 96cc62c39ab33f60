"""How fast the images of a run of 200,000 are drawn, found and marked, and how much is sent.

    python -m benchmarks.gallery [--images 100000] [--rounds 3]

The run of `benchmarks.dashboard`, with a photo of 500 x 375 pixels behind each tile that is shown
and 64 numbers an image for the map. The real server and Chromium: `drawn` is from the click on an
address until the tiles, or all points of the map, are in the page and the server is at rest, by a
new browser; `filter` and `search` from the choice until the other tiles are. The map is a sketch
until a worker has made the finer one, which is written here in its place. Counting the figures
again without marked images is timed in this process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browsing import PATIENCE, Measured, at_rest, chromium, opened, serving
from benchmarks.dashboard import write_run
from gsc_core.run import decisions
from gsc_core.run.gallery import Wanted, ordered, run_images
from gsc_core.run.image_map import MOST, ImageMap, principal_map, sampled, write_map
from gsc_core.run.mistakes import false_alarms_at, missed_at
from gsc_core.run.revised import revised
from gsc_core.run.score_table import Rows
from gsc_core.run.stored import Revision, Run
from tests.support.stored_run import write_features

DRAWN, STEP, WEIGHT = 3.0, 1.0, 1_000_000  # seconds, seconds, bytes
ON_A_PAGE = 48
CLASS, NAME = 7, "picture-0123"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=100_000, help="ID images; as many OOD")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    measured: list[Measured] = []
    with TemporaryDirectory() as folder:
        os.environ |= {"GSC_HOME": folder, "GSC_WORKERS": "elsewhere"}
        path = Path(folder) / "runs" / "big"
        write_run(path, options.images)
        write_features(path, dimensions=64)
        run = Run.load(path)
        for rows in shown(run):
            write_photos(run, rows)
        for each in chain(in_the_browser(run, options.rounds), again(run)):
            sys.stdout.write(each.line() + "\n")
            sys.stdout.flush()
            measured.append(each)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    sys.stdout.write(f"{os.cpu_count()} cores, load over 1, 5 and 15 minutes {load}\n")
    return int(any(each.limit is not None and each.value > each.limit for each in measured))


def shown(run: Run) -> Iterator[Rows]:
    """The rows of each page that is opened below."""
    decision = decisions.current(run)
    at, detector = decision.value, decision.detector
    missed = ordered(run, detector, missed_at(run, at))
    alarms = ordered(run, detector, false_alarms_at(at))
    every = (ordered(run, detector), missed, alarms)
    narrowed = [ordered(run, detector, Wanted(predicted=CLASS))]
    narrowed += [ordered(run, detector, Wanted(named=NAME))]
    for rows in (*every, *narrowed):
        yield rows[:ON_A_PAGE]


def write_photos(run: Run, rows: Rows) -> None:
    """A photo for each of these rows: smooth colours with some grain, as photos have."""
    for image in run_images(run, rows):
        rng = np.random.default_rng(image.row)
        smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pixels = np.asarray(smooth.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
        grained = (pixels + rng.integers(-12, 13, pixels.shape)).clip(0, 255).astype(np.uint8)
        image.path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grained).save(image.path, quality=85)


def in_the_browser(run: Run, rounds: int) -> Iterator[Measured]:
    """Each page by new browsers, then choices on one page."""
    with serving() as (address, _), chromium() as browser:
        images = f"{address}/images?run={run.id}"
        opened(browser, images)  # the server reads its libraries once
        for show in ("all", "missed", "alarms"):
            visits = [visit(browser, f"{images}&images_show={show}", tiles) for _ in range(rounds)]
            yield from as_measured(f"images, {show}", visits)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(images)
        tiles(page)
        yield Measured("filter by class", timed(page, lambda: choose_class(page)), STEP, "s")
        page.goto(images)
        tiles(page)
        yield Measured("search by file name", timed(page, lambda: search(page)), STEP, "s")
        page.close()
        at = f"{images}&images_view=map"
        yield from as_measured("map, a sketch", [visit(browser, at, points) for _ in range(rounds)])
        rows = sampled(run)
        write_map(run, ImageMap(rows, principal_map(run).places[::-1].copy()))
        yield from as_measured("map", [visit(browser, at, points) for _ in range(rounds)])


def as_measured(what: str, visits: Sequence[tuple[float, int]]) -> Iterator[Measured]:
    """The first visit, later ones, and the most that was sent."""
    seconds, weights = zip(*visits, strict=True)
    yield Measured(f"{what}: drawn, first visit", seconds[0], DRAWN, "s")
    yield Measured(f"{what}: drawn, later visits", median(seconds[1:] or seconds), DRAWN, "s")
    yield Measured(f"{what}: sent", max(weights), WEIGHT, "bytes")


def visit(browser: Browser, url: str, drawn: Callable[[Page], object]) -> tuple[float, int]:
    """Seconds until a page is drawn, and bytes that were sent."""
    page, weights = browser.new_page(viewport={"width": 1280, "height": 900}), [0]
    page.on("websocket", lambda ws: ws.on("framereceived", lambda f: weights.append(len(f))))
    start = time.perf_counter()
    page.goto(url)
    drawn(page)
    seconds = time.perf_counter() - start
    page.close()
    return seconds, sum(weights)


def points(page: Page) -> None:
    """Wait for all points of the map."""
    page.locator(f"canvas[data-points='{MOST}']").wait_for(timeout=PATIENCE)
    at_rest(page)


def tiles(page: Page) -> str:
    """Wait for the tiles; what the first of them says."""
    page.locator("ul.grid li").nth(ON_A_PAGE - 1).wait_for(timeout=PATIENCE)
    at_rest(page)
    return str(page.locator("ul.grid li a").first.get_attribute("aria-label"))


def timed(page: Page, act: Callable[[], None]) -> float:
    """Seconds until the first tile is another one."""
    before = str(page.locator("ul.grid li a").first.get_attribute("aria-label"))
    start = time.perf_counter()
    act()
    label = page.locator("ul.grid li a").first
    while label.get_attribute("aria-label") == before:
        if time.perf_counter() - start > PATIENCE / 1000:
            sys.exit("The tiles did not change.")
    at_rest(page)
    return time.perf_counter() - start


def choose_class(page: Page) -> None:
    """Type a class into the box of classes."""
    page.locator(".st-key-images_class input").fill(f"class {CLASS}")
    page.keyboard.press("Enter")


def search(page: Page) -> None:
    """Type a part of a file's name."""
    page.locator(".st-key-images_name input").fill(NAME)
    page.keyboard.press("Enter")


def again(run: Run) -> Iterator[Measured]:
    """All figures of all detectors without five images."""
    start = time.perf_counter()
    revised(run, Revision(frozenset(run.rows_of(run.ood_sets)[:5].tolist())))
    seconds = time.perf_counter() - start
    yield Measured("all figures again without five images", seconds, None, "s")
    yield Measured("the same, for each detector", seconds / len(run.detectors), None, "s")


if __name__ == "__main__":
    sys.exit(main())
