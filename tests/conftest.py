"""What holds for every test."""

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pretend_device  # noqa: F401 - must be known to torch before the first backward pass
import pytest
from browser import PATIENCE, installed, started
from hypothesis import settings
from opened_models import opening_once
from places import TESTS
from playwright.sync_api import Browser, expect, sync_playwright

from gsc_core.classifier import load

# The same examples at each run, so that it fails only for a change. New ones are looked for with
# HYPOTHESIS_PROFILE=explore.
settings.register_profile("steady", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

expect.set_options(timeout=1000 * PATIENCE)

# Modules of minutes in few tests. `make test` gives whole modules to two workers, in this order:
# one that came last would be waited for by an idle core.
LONGEST = (
    "audit/test_ray.py",
    "app/test_journey.py",
    "deploy/test_export.py",
    "scoring/test_devices.py",
    "audit/test_real.py",
    "jobs/test_worker_audits.py",
    "jobs/test_supervisor.py",
)

# An app that a test opens starts no worker: it would do the jobs of the tests that come after.
os.environ["GSC_WORKERS"] = "elsewhere"


@pytest.fixture(autouse=True)
def main_module_restored() -> Iterator[None]:
    """Streamlit's test runner leaves the script of a page as `__main__`, which processes that are
    spawned later would run.
    """
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


OPEN_ONCE = opening_once(load._loaded)


@pytest.fixture(scope="module", autouse=True)
def models_open_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hundreds of audits are of the same few files; tests of opening itself open each time."""
    with pytest.MonkeyPatch.context() as patch:
        if TESTS / "classifier" not in request.path.parents:
            patch.setattr(load, "_loaded", OPEN_ONCE)
        yield


_FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name says nothing: pytest's own has that of the test, and a sentence with a
    path in it then says "damaged" by itself where a test of that name looks for the word.
    """
    folder = tmp_path_factory.getbasetemp() / f"x-{next(_FOLDERS)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of a workspace of the test's own lie."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path))
    return tmp_path / "runs"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with a browser is slow, wherever it stands; `-m "not slow"` leaves it out."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for a module's tests: only one playwright may be open at a time."""
    with sync_playwright() as playwright:
        path = installed(playwright)
        if path is None:
            pytest.skip("no Chromium here: run python tests/support/browser.py --ensure")
        with started(playwright, path) as one:
            yield one
