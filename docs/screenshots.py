"""The pictures of the README and the demo's report, made anew from the demo: `make screenshots`.

The demo is audited into a workspace of its own, its ablation is run, and a real Chromium opens each
page as a visitor does. A picture that is made by hand tells of the day it was made.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import pandas as pd
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).resolve().parent
sys.path.append(str(DOCS.parent / "tests" / "support"))

from browser import PATIENCE, at_rest, installed, served, started  # noqa: E402

WIDTH = 1280
HARDEST, DETECTOR = "night-fog", "auto-ensemble"


@dataclass(frozen=True)
class Shot:
    """One picture: the page's address, words that are there once it is drawn, and its height."""

    name: str
    page: str
    drawn: str
    height: int


SHOTS = (
    Shot("home", "", "Open the demo", 900),
    Shot("results", "results", "How well a detector separates", 1060),
    Shot("image", "images", "The channels behind the answer", 1300),
    Shot("thresholds", "thresholds", "On either side of the threshold", 1060),
    Shot("ablation", "ablation", "One thing changed at a time", 1500),
    Shot("report", "report", "Report for a colleague", 1300),
    Shot("deploy", "deploy", "Take the detector with you", 1300),
)


def make(home: Path) -> None:
    """Write the pictures and the report beside this file, with a workspace in an empty folder."""
    _gsc(home, "demo")
    _gsc(home, "ablate", "demo")
    for form in ("html", "pdf"):
        _gsc(home, "report", "demo", "--out", str(DOCS / f"demo-report.{form}"))
    with served(home) as app, sync_playwright() as playwright:
        path = installed(playwright)
        if path is None:
            sys.exit("No Chromium here: run python tests/support/browser.py --ensure")
        with started(playwright, path) as browser:
            for shot in SHOTS:
                page = browser.new_page(viewport={"width": WIDTH, "height": shot.height})
                page.goto(f"{app.address}/{shot.page}?{urlencode(_query(home, shot))}")
                _draw(page, shot.drawn)
                page.screenshot(path=DOCS / f"{shot.name}.png", animations="disabled")
                page.close()


def _query(home: Path, shot: Shot) -> dict[str, str]:
    """What the address asks for: the demo, and of its images the worst miss."""
    if shot.name != "image":
        return {"run": "demo"}
    scores = pd.read_parquet(home / "runs" / "demo" / "scores.parquet")
    worst = scores.loc[scores["set"] == HARDEST, DETECTOR].idxmin()
    return {"run": "demo", "image": str(worst)}


def _draw(page: Page, words: str) -> None:
    """Wait until the words are there and nothing on the page is still being made."""
    page.get_by_text(words).first.wait_for()
    busy = "[data-testid=stStatusWidget], [data-testid=stSpinner], [data-stale=true], progress"
    page.wait_for_function("busy => !document.querySelector(busy)", arg=busy)
    at_rest(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.stPlotlyChart')].every("
        "chart => chart.querySelector('.main-svg'))"
    )
    page.wait_for_load_state("networkidle")


def _gsc(home: Path, *words: str) -> None:
    subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "gsc_core", *words],
        check=True,
        timeout=10 * PATIENCE,
        env=os.environ | {"GSC_HOME": str(home)},
    )


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        make(Path(folder) / "home")
