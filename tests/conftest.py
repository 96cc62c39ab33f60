"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest
from browser import installed, started
from playwright.sync_api import Browser, sync_playwright

# An app that a test opens starts no worker: it would do the jobs of the tests that come after.
os.environ["GSC_WORKERS"] = "elsewhere"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for a module's tests: only one playwright may be open at a time."""
    with sync_playwright() as playwright:
        path = installed(playwright)
        if path is None:
            pytest.skip("no Chromium here: run python tests/browser.py --ensure")
        with started(playwright, path) as one:
            yield one
