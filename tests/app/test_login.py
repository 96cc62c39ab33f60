"""A login at a real OpenID Connect provider, in a real browser: roles, the end of a login, and a
reader who tries every address and every button of a server that has just started."""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_core import grave
from browser import Served, at_rest, free_port, served
from filled_workspace import fill
from oidc_provider import log_in, provided, python_with_provider, secrets
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from stored_run import write_run
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from app import FOR, PAGES
from gsc_core.team import journal
from gsc_core.team.journal import JOURNAL_FILE, Event, Wanted
from gsc_core.workspace import imagesets, models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        python_with_provider() is None,
        reason="oidc-provider-mock is not installed: pip install -r requirements-dev.txt",
    ),
]
PEOPLE = {
    "olga": {"email": "olga@example.org", "groups": ["gsc-operators"]},
    "ann": {"email": "ann@example.org"},
    "rita": {"email": "rita@example.org"},
    "eve": {"email": "eve@example.com"},
    "liar": {"email": "ann@example.org", "email_verified": False, "groups": []},
}
ROLES = """
operators = ["claim:gsc-operators"]
auditors = ["ann@example.org"]
readers = ["@example.org"]
"""
ADDRESSES = ["", *(name.replace("_", "-") for each in PAGES.values() for name in each)]
# The page's own socket is kept where a test can send on it what a visitor with tools would.
KEEP_SOCKET = """
const Own = window.WebSocket;
window.WebSocket = class extends Own {
    constructor(...all) { super(...all); window.kept = this; }
};
"""
SEND = """text => window.kept.send(Uint8Array.from(atob(text), c => c.charCodeAt(0)))"""


@contextmanager
def app_with_login(tmp_path: Path, gsc: str = ROLES, **variables: str) -> Iterator[Served]:
    port = free_port()
    with provided(PEOPLE, tmp_path / "provider.txt") as provider:
        file = tmp_path / "secrets.toml"
        file.write_text(secrets(provider, port, gsc))
        variables |= {"STREAMLIT_SECRETS_FILES": str(file), "GSC_WORKERS": "elsewhere"}
        with served(tmp_path / "home", port=port, **variables) as server:
            yield server


class Session:
    """A visitor with a browser of their own, and what the app tells their page."""

    def __init__(self, browser: Browser, server: Served, person: str, path: str = "") -> None:
        self.server, self.buttons, self.scripts = server, set[str](), dict[str, str]()
        self.context: BrowserContext = browser.new_context()
        self.page: Page = self.context.new_page()
        self.page.add_init_script(KEEP_SOCKET)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._read))
        self.page.goto(f"{server.address}/{path}")
        log_in(self.page, server.address, person)
        at_rest(self.page)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def visit(self, address: str) -> Page:
        self.page.goto(f"{self.server.address}/{address}")
        return at_rest(self.page)

    def _read(self, frame: bytes) -> None:
        message = ForwardMsg.FromString(frame)
        for entry in message.navigation.app_pages:
            self.scripts[entry.url_pathname] = entry.page_script_hash
        if message.delta.new_element.button.id:
            self.buttons.add(message.delta.new_element.button.id)


def says(page: Page, text: str, where: str = "stMain") -> None:
    """Addresses are shown with word joiners in them, so that nothing makes links of them."""
    letters = re.compile("\u2060?".join(map(re.escape, text)))
    expect(page.get_by_test_id(where)).to_contain_text(letters)


def in_the_list(page: Page, title: str) -> Locator:
    """A page's link in the app's own list of pages."""
    return page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True)


def contents(home: Path) -> dict[str, str]:
    """Every file of the workspace with its digest, but the log of what was tried."""
    return {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(home.rglob("*"))
        if file.is_file() and file.name != JOURNAL_FILE and "uploads" not in file.parts
    }


def test_people_come_in_with_their_roles_and_the_log_has_them(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    with app_with_login(tmp_path) as server:
        with Session(browser, server, "olga", "runs") as operator:  # the first of a cold server
            says(operator.page, "olga@example.org, operator", "stSidebar")
            expect(in_the_list(operator.page, "Log")).to_be_visible()
            says(operator.visit("log"), "Logins, uploads")
        with Session(browser, server, "ann") as auditor:
            says(auditor.page, "ann@example.org, auditor", "stSidebar")
            expect(in_the_list(auditor.page, "Trash")).to_be_visible()
            expect(in_the_list(auditor.page, "Log")).to_have_count(0)
            says(auditor.visit("log"), "As an auditor you cannot do what only an operator may")
            says(auditor.visit("models"), "Add a model")
        with Session(browser, server, "eve") as outsider:
            says(outsider.page, "eve@example.com is not invited")
            assert not grave(outsider.page)
            expect(outsider.page.get_by_test_id("stSidebarNav")).to_have_count(0)
        with Session(browser, server, "liar") as liar:
            says(liar.page, "is not invited")
    logins = journal.read(Wanted(events=(Event.LOGIN,))).entries
    assert [(entry.person, entry.role) for entry in reversed(logins)] == [
        ("olga@example.org", "operator"),
        ("ann@example.org", "auditor"),
    ]
    assert len(journal.read(Wanted(events=(Event.NOT_INVITED,))).entries) == 2


def test_a_login_ends_by_itself_and_at_the_button(browser, tmp_path):
    with (
        app_with_login(tmp_path, f"{ROLES}\nlogin_hours = 0.01") as server,
        Session(browser, server, "ann", "models") as auditor,
    ):
        says(auditor.visit("models"), "Add a model")
        # Nobody touches the page: it looks by itself.
        says(auditor.page, "Your login has expired: log in again.")
        expect(auditor.page.get_by_test_id("stSidebarNav")).to_have_count(0)
        log_in(auditor.page, server.address, "ann")
        expect(auditor.page.get_by_test_id("stSidebarNav")).to_contain_text("Models")
        auditor.page.get_by_role("button", name="Log out").click()
        auditor.page.wait_for_url("**/end_session**")
        says(auditor.visit("models"), "Please log in")
        assert not grave(auditor.page)


def test_a_reader_tries_every_address_and_every_button(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("GSC_HOME", str(tmp_path / "home"))
    fill(tmp_path / "home")
    write_run(tmp_path / "home" / "runs" / "demo")
    query = "?run=demo"
    with app_with_login(tmp_path) as server:
        with Session(browser, server, "rita", "new-audit") as reader:  # of a cold server
            before = contents(server.home)
            for address in ADDRESSES:
                page = reader.visit(address + query)
                expect(page.get_by_test_id("stException")).to_have_count(0)
                expect(page.locator('input[type="file"]')).to_have_count(0)
                if address.replace("-", "_") in FOR:
                    says(page, "As a reader you can see results and reports, but you cannot")
            own = set(reader.buttons)
            with Session(browser, server, "olga") as operator:
                for address in (*ADDRESSES, *_records()):
                    operator.visit(address if "?" in address else address + query)
                forbidden = operator.buttons - own
            assert len(forbidden) > 20, "every button that an operator has and a reader has not"
            for script in set(operator.scripts.values()):
                reader.page.evaluate(SEND, _press(forbidden, script, query))
                at_rest(reader.page)
                expect(reader.page.get_by_test_id("stException")).to_have_count(0)
            assert contents(server.home) == before
            status = reader.page.evaluate(
                """async () => (await fetch('/_stcore/upload_file/a/b', {method: 'PUT'})).status"""
            )
            assert status == 403
        assert "Traceback" not in server.log.read_text()


def _records() -> list[str]:
    """The pages of one model and one set."""
    model, images = models.list_models()[0], imagesets.list_sets("id")[0]
    return [f"models?model={model.id}", f"image-sets?set={images.id}"]


def _press(buttons: set[str], script: str, query: str) -> str:
    """The message of a browser whose visitor pressed all these buttons of a page at once."""
    message = BackMsg()
    message.rerun_script.page_script_hash = script
    message.rerun_script.query_string = query.removeprefix("?")
    for button in sorted(buttons):
        message.rerun_script.widget_states.widgets.append(
            WidgetState(id=button, trigger_value=True)
        )
    return base64.b64encode(message.SerializeToString()).decode()
