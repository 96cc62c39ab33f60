"""What Results shows before anybody scrolls, in a real browser at 1280 × 900."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import Served, at_rest, served
from PIL import Image
from playwright.sync_api import Browser, Page
from stored_run import SETS, write_run

pytestmark = pytest.mark.slow

GOOD, BAD = "rgb(0, 158, 115)", "rgb(213, 94, 0)"
MANY = {f"a set with a long name, {i:02}": 0.8 + i / 5 for i in range(14)}
RUNS = {
    "one": {"sets": {"textures": 1.5}},
    "fourteen": {"sets": MANY, "m": 30},
    "excused": {"excused": {"auto-ensemble": "It needs gsc-auto, which cannot run here."}},
    "warned": {"checks": [{"name": "a", "outcome": "warning", "sentence": "All are one class."}]},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("screen") / "home"
    for name, about in RUNS.items():
        folder = home / "runs" / name
        sets = ("id", "calibration", *about.get("sets", SETS))
        roots = {each: str(folder / "sets" / each.replace(" ", "_")) for each in sets}
        ood = {each: roots[each] for each in sets[2:]}
        settings = {"id": roots["id"], "calibration": roots["calibration"], "ood": ood}
        write_run(folder, settings=settings, **about)
        table = pd.read_parquet(folder / "scores.parquet")
        for of_set, file in zip(table["set"], table["file"], strict=True):
            path = Path(roots[of_set]) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (90, 120, 30)).save(path)
    with served(home, GSC_WORKERS="elsewhere") as one:
        yield one


def opened(browser: Browser, app: Served, run: str, scheme: str) -> Page:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(f"{app.address}/results?run={run}")
    page.wait_for_selector('[data-testid="stImage"] img')
    page.wait_for_selector(".js-plotly-plot .shapelayer path")
    return at_rest(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("run", RUNS)
def test_the_decision_its_threshold_and_its_misses_are_seen_in_this_order(
    browser: Browser, app: Served, run: str, scheme: str
) -> None:
    page = opened(browser, app, run, scheme)
    numbers = page.locator('[data-testid="stHtml"]')
    assert numbers.count() == 2
    chart = page.locator(".js-plotly-plot").first
    misses = page.locator('[data-testid="stImage"] img')
    boxes = [numbers.nth(0), numbers.nth(1), chart, misses.first, misses.nth(4)]
    unfamiliar, familiar, histogram, first, last = (box.bounding_box() for box in boxes)
    assert unfamiliar["y"] == pytest.approx(familiar["y"])
    assert unfamiliar["x"] + unfamiliar["width"] < familiar["x"]
    assert familiar["y"] + familiar["height"] <= histogram["y"]
    assert histogram["y"] + histogram["height"] <= first["y"]
    assert last["y"] + last["height"] <= 900
    assert chart.locator(".shapelayer path").count() >= 2  # the line, and what is flagged
    for number, colour in ((numbers.nth(0), BAD), (numbers.nth(1), GOOD)):
        text, bar = number.get_by_text("of 1,000"), number.locator('[role="img"] > div').first
        size = text.evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
        assert size >= 28
        assert text.evaluate("each => getComputedStyle(each).color") == colour
        assert bar.evaluate("each => getComputedStyle(each).backgroundColor") == colour
        count = int(text.inner_text().split()[0])
        whole = number.locator('[role="img"]').bounding_box()["width"]
        assert bar.bounding_box()["width"] / whole == pytest.approx(count / 1000, abs=0.01)
    page.context.close()
