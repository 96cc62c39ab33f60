"""What Results shows before anybody scrolls, in a real browser at 1280 × 900."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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


@dataclass(frozen=True)
class Expected:
    """By pandas alone: `gsc` decides by preference, and accepts 95 % of the 50 calibration images.

    Counts are of 1,000; misses are the alternative texts' beginnings, the lowest score first.
    """

    threshold: float
    unfamiliar: int
    familiar: int
    misses: list[str]

    @classmethod
    def of(cls, folder: Path) -> "Expected":
        table = pd.read_parquet(folder / "scores.parquet").astype({"gsc": float})
        threshold = np.sort(table.gsc[table.role == "calibration"])[48]  # 95 % of 51, from 1
        ood = table[table.role == "ood"].assign(accepted=lambda each: each.gsc <= threshold)
        familiar = (table.gsc[table.role == "id"] <= threshold).mean()
        missed = ood[ood.accepted].sort_values("gsc").head(5)
        return cls(
            float(threshold),
            round(1000 * ood.groupby("set").accepted.mean().mean()),
            round(1000 * familiar),
            [f"{row.file} of {row.set}," for row in missed.itertuples()],
        )


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
    numbers = page.locator('[data-testid="stHtml"]:has([role="img"])')
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
    expected = Expected.of(app.home / "runs" / run)
    line, bars = chart.evaluate(
        """each => [
            each.layout.shapes.filter(shape => shape.type === 'line').map(shape => shape.x0),
            each._fullData.filter(trace => trace.name === 'Familiar images')
                .map(trace => [...trace.y].map((y, i) => [trace.x0 + i * trace.dx, y]))[0],
        ]"""
    )
    assert line == [pytest.approx(expected.threshold)]
    left = sum(share for centre, share in bars if centre <= expected.threshold)
    assert left == pytest.approx(expected.familiar / 1000, abs=max(share for _, share in bars))
    assert len(expected.misses) == misses.count() == 5
    for i, beginning in enumerate(expected.misses):
        assert (misses.nth(i).get_attribute("alt") or "").startswith(beginning)
    for number, title, colour, counted in (
        (numbers.nth(0), "Unfamiliar images accepted", BAD, expected.unfamiliar),
        (numbers.nth(1), "Familiar images accepted", GOOD, expected.familiar),
    ):
        box = number.locator("xpath=ancestor::*[@data-testid='stVerticalBlock'][1]")
        assert box.inner_text().startswith(f"{title} (95 % interval ")
        text, bar = number.get_by_text("of 1,000"), number.locator('[role="img"] > div').first
        size = text.evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
        assert size >= 28
        assert text.evaluate("each => getComputedStyle(each).color") == colour
        assert bar.evaluate("each => getComputedStyle(each).backgroundColor") == colour
        count = int(text.inner_text().split()[0])
        assert count == counted
        whole = number.locator('[role="img"]').bounding_box()["width"]
        assert bar.bounding_box()["width"] / whole == pytest.approx(count / 1000, abs=0.01)
    page.context.close()
