"""The first visits of a new server, in a real browser: they may go to any page's address."""

import re
import sys
from pathlib import Path

import pytest
from browser import at_rest, served
from filled_workspace import fill
from playwright.sync_api import expect
from stored_run import write_run

from app import PAGES
from gsc_core.workspace.catalogue import CATALOGUE_FILE

pytestmark = pytest.mark.slow
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process loaded")


def test_a_page_is_drawn_with_the_apps_own_navigation(browser, tmp_path):
    """That of the server's first visit, and home to whoever comes next."""
    with served(tmp_path / "home") as server:
        for path, heading in (("image-sets", "Image sets"), ("", "What does")):
            page = browser.new_page()
            page.goto(f"{server.address}/{path}")
            shown = page.get_by_test_id("stMain").get_by_role("heading").first
            expect(shown).to_contain_text(heading)
            at_rest(page)
            expect(page.get_by_test_id("stSidebarNav")).to_contain_text("Understand")
            expect(page.get_by_role("dialog")).to_have_count(0)  # "Page not found"
            page.close()


def test_those_who_come_before_it_is_ready_wait_and_meet_no_error(browser, tmp_path):
    """Each asks for a page of its own: none may see modules that another is still importing."""
    addresses = ("runs", "results?run=gone", "", "thresholds", "image-sets")
    with (
        served(tmp_path / "home", answering=False, first=True) as server,
        browser.new_context() as context,
    ):
        pages = {address: context.new_page() for address in addresses}
        for address, page in pages.items():  # without waiting for one before the next
            page.evaluate("url => { location.href = url }", f"{server.address}/{address}")
        for page in pages.values():
            page.wait_for_selector(".stApp")
            at_rest(page)
            expect(page.get_by_test_id("stException")).to_have_count(0)
            expect(page.get_by_test_id("stSidebarNav")).to_contain_text("Understand")
        assert "Traceback" not in server.log.read_text()


@ON_LINUX
def test_what_a_first_visit_needs_is_there_before_it(tmp_path):
    with served(tmp_path / "home", first=True) as server:
        loaded = Path(f"/proc/{server.pid}/maps").read_text()
        assert "libarrow" in loaded
        assert server.home.joinpath(CATALOGUE_FILE).exists()
        assert "Traceback" not in server.log.read_text()
        assert not server.home.joinpath("workspace.db").exists(), "nobody has asked for one"


@ON_LINUX
def test_the_server_shows_every_page_without_the_engine(browser, tmp_path, monkeypatch):
    """On a workspace with a model, sets and a finished run, each page and what is on it."""
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    fill(tmp_path / "home")
    write_run(tmp_path / "home" / "runs" / "demo")
    addresses = ("", *(name.replace("_", "-") for each in PAGES.values() for name in each))
    with served(tmp_path / "home", GSC_WORKERS="elsewhere") as server:
        page, said = browser.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(f"error {error}"))
        for address in addresses:
            page.goto(f"{server.address}/{address}" if address != "home" else server.address)
            at_rest(page)
            if address in ("results", "thresholds"):
                expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
            if address == "report":
                report = page.locator("iframe").content_frame.locator("iframe").content_frame
                expect(report.locator("h1").first).to_be_visible()
            expect(page.get_by_test_id("stException")).to_have_count(0)
            loaded = Path(f"/proc/{server.pid}/maps").read_text()
            assert "libtorch" not in loaded, address
        page.close()
        broken = [text for text in said if re.search("error |Refused|Content Security", text)]
        assert not broken, "a page needs what the headers forbid"
