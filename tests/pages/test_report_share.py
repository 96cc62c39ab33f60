"""Sharing a report: published and revoked by the auditor, opened by who has the address alone."""

import re
from pathlib import Path

import pytest
from browser import PATIENCE, at_rest, leaves_the_machine, served
from login_provider import LOGIN, PROVIDER
from opened_page import ROOT, words
from playwright.sync_api import Browser, FrameLocator, Page, Request, expect
from stored_run import write_run
from streamlit.testing.v1 import AppTest

from gsc_core.workspace import shares

pytestmark = pytest.mark.slow

PAGE = "<!doctype html><title>Report</title><h1>The answer</h1><p>12 of 1,000</p>"
ADDRESS = re.compile(r"(.*)/report\?share=([\w-]{43})")
EVIL = (
    "</iframe><script>window.top.pwned = 1; parent.pwned = 1</script><img src=x onerror=alert(1)>"
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    write_run(
        tmp_path / "home" / "runs" / "demo", sets={"x": 1.0}, detectors={"a": 1.0}, n=40, m=40
    )
    return tmp_path / "home"


def auditor(**secrets: object) -> AppTest:
    """What the report page shows below its downloads, to who may share."""
    app = AppTest.from_string(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from gsc_core.run.stored import Run\nfrom gsc_core.workspace.runs import run_folder\n"
        "from gsc_core.team.acting import acting_as\nfrom gsc_core.team.roles import ALONE\n"
        "from pages.parts.report.share import share\n"
        f"with acting_as(ALONE):\n    share(Run.load(run_folder('demo')), {PAGE!r})",
        default_timeout=PATIENCE,
    )
    for name, value in secrets.items():
        app.secrets[name] = value
    return app.run()


def visitor(token: str, **secrets: object) -> AppTest:
    """The whole app at the address of a share."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
    for name, value in secrets.items():
        app.secrets[name] = value
    app.query_params["share"] = token
    return app.run()


def sees_only_the_report(app: AppTest) -> bool:
    assert not app.exception
    (frame,) = app.get("iframe")
    assert 'sandbox=""' in frame.proto.srcdoc
    assert [button.key for button in app.get("download_button")] == ["shared_download"]
    assert not app.button
    assert not app.get("page_link")
    assert not app.sidebar
    return "12 of 1,000" in frame.proto.srcdoc


def sees_nothing(app: AppTest) -> bool:
    assert not app.exception
    assert not app.get("iframe")
    assert not app.get("download_button")
    assert not app.button
    assert not app.get("page_link")
    (warning,) = app.warning
    return warning.value.startswith("This report is no longer shared")


def test_published_opened_and_revoked(home):
    app = auditor()
    assert "Nothing of this run is shared" in words(app)
    app.selectbox(key="share_days").select(30)
    app.button(key="share_publish").click().run()
    assert not app.exception
    (address,) = app.code
    match = ADDRESS.fullmatch(address.value)
    assert match is not None
    (share,) = shares.shared("demo")
    assert (share.expires - share.made).days == 30
    assert sees_only_the_report(visitor(match[2]))

    app.run()
    assert len(shares.shared("demo")) == 1  # a redraw publishes nothing
    app.button(key=f"share_revoke_{share.id[:12]}").click().run()
    assert not app.exception
    assert not app.code
    assert "Nothing of this run is shared" in words(app)
    assert sees_nothing(visitor(match[2]))


def test_another_visit_lists_what_is_shared_without_its_address(home):
    tokens = [shares.publish("demo", PAGE, days=7).token for _ in range(8)]
    app = auditor()
    assert "Shared now: 8" in words(app)
    assert not app.code
    assert not [token for token in tokens if token in words(app)]
    keys = {button.key for button in app.button}
    assert keys >= {f"share_revoke_{share.id[:12]}" for share in shares.shared("demo")}

    app.button(key="share_revoke_all").click().run()
    assert not app.exception
    assert "Nothing of this run is shared" in words(app)
    assert sees_nothing(visitor(tokens[3]))


def test_it_tells_who_can_see_what(home):
    assert "has no login, so whoever can reach it sees" in words(auditor())
    assert "They see nothing else of this app" in words(auditor(auth=PROVIDER))


@pytest.mark.parametrize("token", ["", "x", "../../runs/demo", "A" * 43, "%00", "<b>hi</b>"])
def test_an_address_that_is_none_is_one_sentence(home, token):
    shares.publish("demo", PAGE, days=7)
    assert sees_nothing(visitor(token))


def test_a_share_needs_no_login_and_gives_none(home):
    token = shares.publish("demo", PAGE, days=7).token
    app = visitor(token, auth=PROVIDER, gsc={"allowed": ["ann@example.org"]})
    assert sees_only_the_report(app)
    del app.query_params["share"]
    for run in (None, "demo"):  # the same session, now without the address
        if run:
            app.query_params["run"] = run
        app.run()
        assert "Please log in" in words(app)
        assert not app.get("iframe")
        assert [button.key for button in app.button] == ["login"]


@pytest.mark.parametrize("said", [False, "false", "no", 0, "true"])
def test_an_operator_forbids_it(home, said):
    token = shares.publish("demo", PAGE, days=7).token
    assert not auditor(gsc={"share": said}).get("expander")
    assert sees_nothing(visitor(token, gsc={"share": said}))


def test_a_disk_that_refuses_is_one_sentence(home):
    (home / "shares").write_text("a file where the folder should be")
    app = auditor()
    app.button(key="share_publish").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert not app.code


# --- in a real browser -----------------------------------------------------------------------


class Visit:
    """A browser with no history: its page, and all that it asked for."""

    def __init__(self, browser: Browser, **options: object) -> None:
        self.context = browser.new_context(**options)
        self.requests: list[Request] = []
        self.context.on("request", self._note)
        self.page: Page = self.context.new_page()

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def tells_nobody(self, token: str) -> bool:
        """Whether the token went to this app alone, and never in a place that others log."""
        assert not [each.url for each in self.requests if leaves_the_machine(each)]
        return [each.url.count(token) for each in self.requests].count(1) == 1


def report_in(page: Page) -> FrameLocator:
    """The report itself: a sandboxed frame in a frame."""
    return page.frame_locator("iframe").frame_locator("iframe")


def scrolls(page: Page) -> list[bool]:
    """Whether the app's page can be scrolled, and the frame in it around the report."""
    main = """document.querySelector('[data-testid="stMain"]')"""
    around = "document.querySelector('iframe').contentDocument.documentElement"
    higher = "(part => part.scrollHeight > part.clientHeight)({})"
    return [page.evaluate(higher.format(part)) for part in (main, around)]


def has_no_way_on(page: Page) -> None:
    at_rest(page)
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
    expect(page.get_by_test_id("stMainMenuButton")).not_to_be_visible()
    expect(page.locator("a[href]:not([href^='#']):visible")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)  # "Page not found"


def test_a_colleague_reads_it_until_it_is_revoked(home, browser):
    with served(home) as server:
        own = Visit(browser).page
        own.goto(f"{server.address}/report?run=demo")
        at_rest(own).get_by_text("Share this report").click()
        at_rest(own).get_by_role("button", name="Publish").click()
        address = own.get_by_test_id("stCode").inner_text().strip()
        match = ADDRESS.fullmatch(address)
        assert match is not None
        assert match[1] == server.address

        for width, height in ((1280, 900), (390, 844)):
            visit = Visit(browser, viewport={"width": width, "height": height})
            visit.page.goto(address)
            heading = report_in(visit.page).get_by_role("heading").first
            expect(heading).to_contain_text("familiar images")
            has_no_way_on(visit.page)
            box = visit.page.locator("iframe").bounding_box()
            assert box is not None
            assert 0.75 * height < box["height"] <= height - box["y"]
            assert scrolls(visit.page) == [False, False]  # the report alone does
            with visit.page.expect_download() as download:
                visit.page.get_by_role("button", name="Download").click()
            assert "familiar images" in download.value.path().read_text(encoding="utf-8")
            assert visit.tells_nobody(match[2])

        own.get_by_role("button", name="Revoke").click()
        expect(own.get_by_text("Nothing of this run is shared")).to_be_visible()
        late = Visit(browser).page
        late.goto(address)
        expect(late.get_by_text("This report is no longer shared")).to_be_visible()
        has_no_way_on(late)
        assert match[2] not in server.log.read_text()


def test_with_a_login_a_share_opens_on_a_cold_server_and_no_page_besides(home, browser, tmp_path):
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(LOGIN)
    token = shares.publish("demo", f"{PAGE}{EVIL}", days=7).token
    with served(home, STREAMLIT_SECRETS_FILES=str(secrets)) as server:
        visit = Visit(browser)
        page = visit.page
        page.goto(f"{server.address}/report?share={token}")
        expect(report_in(page).get_by_role("heading")).to_have_text("The answer")
        has_no_way_on(page)
        assert page.evaluate("window.pwned") is None
        for path in ("", "results?run=demo", "report?run=demo", "report", "models"):
            page.goto(f"{server.address}/{path}")
            expect(page.get_by_role("button", name="Log in")).to_be_visible()
            at_rest(page)
            expect(page.locator("body")).to_contain_text("Please log in")
            expect(page.locator("iframe")).to_have_count(0)
        # Whatever page the address names, with a token it is the shared report and nothing more.
        page.goto(f"{server.address}/models?share={token}")
        expect(report_in(page).get_by_role("heading")).to_have_text("The answer")
        has_no_way_on(page)
