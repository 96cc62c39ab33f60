"""A real Chromium for the tests, and the app served to it.

    python tests/support/browser.py --ensure

looks for one, and installs one where it may: the distribution's package when root, else
Playwright's own. It says what it found; tests that need a browser are skipped where there is none.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, Request, sync_playwright
from playwright.sync_api import Error as PlaywrightError

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
)
# Seconds, and the one limit of every wait in the tests: each is for a state, and what is not there
# after so long on the slowest machine will not come.
PATIENCE = 300.0


def installed(playwright: Playwright) -> str | None:
    """The first browser that truly starts: CHROMIUM, one on the path, Playwright's own."""
    named = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    own = playwright.chromium.executable_path
    there = [path for path in (*named, own) if path and Path(path).exists()]
    return next((path for path in there if _starts(playwright, path)), None)


def started(playwright: Playwright, path: str) -> Browser:
    """The browser at a path, without a window, whose pages wait as long as everything here."""
    sandbox = ["--no-sandbox"] if _is_root() else []  # as root it refuses to have one
    limit = 1000 * PATIENCE
    browser = playwright.chromium.launch(
        executable_path=path, args=[*SWITCHES, *sandbox], timeout=limit
    )
    browser.on("context", lambda context: context.set_default_timeout(limit))
    return browser


def ensure() -> str:
    """Find a browser, or install one; the sentence that says which, or why there is none."""
    own = [sys.executable, "-m", "playwright", "install", "chromium"]
    package = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
    from_distribution = [["apt-get", "update"], package]
    ways = [from_distribution] if _is_root() and shutil.which("apt-get") else []
    for commands in ([], *ways, [own]):
        for command in commands:
            print(f"No browser yet: {' '.join(command)} …", flush=True)
            _try(command)
        with sync_playwright() as playwright:
            if found := installed(playwright):
                return f"Browser for the tests: {found}"
    return (
        "No Chromium was found and none could be installed, so the tests in a real browser are "
        "SKIPPED: install one, or set CHROMIUM to its path."
    )


@dataclass(frozen=True)
class Served:
    """The app, served on this machine alone with a workspace of its own."""

    address: str
    home: Path
    log: Path
    pid: int


@contextmanager
def served(
    home: Path,
    *,
    answering: bool = True,
    first: bool = False,
    port: int | None = None,
    **environment: str,
) -> Iterator[Served]:
    """`streamlit run app.py` as a user starts it; ended with its workers, each by its id.

    It answers already, unless told not to wait for that: then visitors can stand in its queue.
    It finds in its workspace the list of detectors that an earlier start left there, unless this is
    the `first`: to make it takes a process of its own some seconds.
    `port` is a free one, unless the login must be told of it beforehand.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not first:
        name, listed = _catalogue()
        (home / name).write_text(listed, encoding="utf-8")
    port, log = port or free_port(), home.with_name(f"{home.name}-server.txt")
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    settings = {"GSC_HOME": str(home), "GSC_WORKERS": "here", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | settings | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(port, server, log, answering=answering)
        yield Served(f"http://127.0.0.1:{port}", home, log, server.pid)
    finally:
        server.terminate()
        server.wait(PATIENCE)
        for pid in workers_of(home):
            os.kill(pid, signal.SIGKILL)


@cache
def _catalogue() -> tuple[str, str]:
    """The list of detectors as a server leaves it, and the name of its file."""
    # Heavy, and not there yet where this file only looks for a browser.
    from gsc_core.workspace.catalogue import CATALOGUE_FILE  # noqa: PLC0415
    from gsc_core.workspace.catalogue_maker import make_catalogue  # noqa: PLC0415

    return CATALOGUE_FILE, make_catalogue().model_dump_json()


def workers_of(home: Path) -> list[int]:
    """The processes that hold the lanes of a workspace and are indeed workers."""
    named = [re.match(r"\d+", lock.read_text()) for lock in home.glob("worker-*.lock")]
    return [int(match[0]) for match in named if match and _is_worker(int(match[0]))]


def leaves_the_machine(request: Request) -> bool:
    """Whether a request goes anywhere but to this machine."""
    parts = urlsplit(request.url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def at_rest(page: Page) -> Page:
    """The page, once the script has run to its end and everything it sent is drawn."""
    page.wait_for_selector('.stApp[data-test-script-state="notRunning"]')
    page.wait_for_function(
        """() => !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]')
            && document.querySelector('[data-testid="stMain"]')?.innerText.trim()"""
    )
    # A click into what is still unfolding can be lost: pressed on one element, released on another.
    page.wait_for_function(
        """async () => {
            const frame = () => new Promise(requestAnimationFrame);
            await frame(), await frame();  // what the last event began has started by then
            return document.getAnimations().every(each => each.playState !== 'running'
                || each.effect.getComputedTiming().endTime === Infinity);
        }"""
    )
    return page


def _try(command: list[str]) -> None:
    """Run a command that may fail: what counts is whether there is a browser after it."""
    quietly = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command, stdout=subprocess.DEVNULL, env=quietly, timeout=PATIENCE, check=False
        )


def _starts(playwright: Playwright, path: str) -> bool:
    try:
        started(playwright, path).close()
    except PlaywrightError:  # a stub that only tells where to get the real one, or a broken one
        return False
    return True


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path, *, answering: bool) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE):
                if not answering:
                    return
            health = f"http://127.0.0.1:{port}/_stcore/health"
            with urllib.request.urlopen(health, timeout=PATIENCE) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"The app does not answer:\n{log.read_text()}")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _is_worker(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline")
    return command.exists() and b"gsc_core" in command.read_bytes()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


if __name__ == "__main__":
    if sys.argv[1:] != ["--ensure"]:
        sys.exit(__doc__)
    print(ensure())
