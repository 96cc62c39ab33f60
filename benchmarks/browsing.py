"""The real app and a real Chromium, for what is timed as a person at a browser meets it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, WebSocket, sync_playwright

from tests.support.browser import installed, started

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60_000  # milliseconds


@dataclass(frozen=True)
class Measured:
    """A figure, its limit, and whether it must hold (a cold start of Python is only told)."""

    what: str
    value: float
    limit: float | None
    unit: str

    def line(self) -> str:
        """One line of the table."""
        if self.limit is None:
            return f"{self.what:<52}{self._number(self.value):>12}"
        verdict = "pass" if self.value <= self.limit else "FAIL"
        limit = self._number(self.limit)
        return f"{self.what:<52}{self._number(self.value):>12}  limit {limit}  {verdict}"

    def _number(self, value: float) -> str:
        return f"{value / 1000:,.0f} kB" if self.unit == "bytes" else f"{value:.2f} {self.unit}"


@contextmanager
def serving() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, the one that the tests use."""
    with sync_playwright() as playwright:
        path = installed(playwright)
        if path is None:
            sys.exit("No Chromium here: run python tests/support/browser.py --ensure")
        with started(playwright, path) as browser:
            yield browser


def opened(browser: Browser | BrowserContext, url: str) -> tuple[float, int]:
    """Seconds until a page is drawn, and bytes it was sent; a Browser was never here before."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    weight = 0

    def weigh(frame: str | bytes) -> None:
        nonlocal weight
        weight += len(frame)

    def listen(socket_: WebSocket) -> None:
        socket_.on("framereceived", weigh)

    page.on("websocket", listen)
    start = time.perf_counter()
    page.goto(url)
    drawn(page, charts="/results" in url)
    seconds = time.perf_counter() - start
    page.close()
    return seconds, weight


def drawn(page: Page, *, charts: bool) -> None:
    """Wait until the script has ended, and the charts, if the page has some, are drawn."""
    if charts:
        page.wait_for_function(
            # a function: all else is an `eval` at each poll, which the policy of the pages forbids
            "() => [...document.querySelectorAll('.js-plotly-plot')]"
            ".filter(chart => chart.querySelector('.trace')).length >= 2",
            timeout=PATIENCE,
        )
        page.get_by_text("What next").wait_for(timeout=PATIENCE)
    at_rest(page)


def at_rest(page: Page) -> None:
    """Wait until the server has nothing more to say about this page."""
    still = "[data-testid=stApp][data-test-script-state=notRunning]"
    page.wait_for_selector(still, timeout=PATIENCE)


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """CPU time of a process so far, by Linux's own count; also of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    counted = fields[11:15] if with_children else fields[11:13]
    return sum(map(int, counted)) / os.sysconf("SC_CLK_TCK")
