"""Who may send files, how much, where that lies and when it goes: in a real browser."""

import hashlib
import os
from pathlib import Path

import pytest
from browser import Served, at_rest, served
from login_provider import LOGIN
from playwright.sync_api import Browser, Page, expect
from states import until
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

pytestmark = pytest.mark.slow
MB = 10**6
SEND = """async ([session, size, files]) => {
    const token = document.cookie.match(/_streamlit_xsrf=([^;]+)/)[1];
    const form = new FormData();
    for (let at = 0; at < files; at++)
        form.append(`file${at}`, new Blob([new Uint8Array(size)]), `${at}.zip`);
    const answer = await fetch(`/_stcore/upload_file/${session}/${crypto.randomUUID()}`,
        {method: "PUT", body: form, headers: {"X-Xsrftoken": token}});
    return [answer.status, await answer.text()];
}"""


class Visitor:
    """A page of the app, and the id of the session it was given."""

    def __init__(self, browser: Browser, server: Served, path: str) -> None:
        self.session = ""
        self.page: Page = browser.new_page()
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._read))
        self.page.goto(f"{server.address}/{path}")
        at_rest(self.page)

    def _read(self, frame: bytes) -> None:
        message = ForwardMsg.FromString(frame)
        self.session = message.new_session.initialize.session_id or self.session

    def sends(self, size: int, *, files: int = 1) -> tuple[int, str]:
        """What the server answers to a request with so many files of so many bytes."""
        status, text = self.page.evaluate(SEND, [self.session, size, files])
        return status, text


def spooled(server: Served) -> list[Path]:
    return [path for path in server.home.joinpath("uploads").rglob("*") if path.is_file()]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_who_is_not_in_sends_nothing(browser, tmp_path):
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(LOGIN)
    with served(tmp_path / "home", STREAMLIT_SECRETS_FILES=str(secrets)) as server:
        outside = Visitor(browser, server, "models")
        expect(outside.page.get_by_role("button", name="Log in")).to_be_visible()
        expect(outside.page.locator("body")).to_contain_text("Please log in")
        expect(outside.page.get_by_test_id("stSidebarNav")).to_have_count(0)
        assert outside.session
        before = resident(server.pid)
        for _ in range(6):
            status, said = outside.sends(30 * MB)
            assert (status, said.split(":")[0]) == (
                403,
                "Only visitors who were let in may send files",
            )
        assert resident(server.pid) - before < 30 * MB
        assert not spooled(server)
        shared = Visitor(browser, server, "?share=guess")
        assert shared.sends(10)[0] == 403
        outside.session = "another"
        assert outside.sends(10)[0] == 403
        outside.page.close()
        shared.page.close()


def test_a_file_lies_on_disk_and_the_page_gets_it_whole_or_says_why_not(browser, tmp_path):
    content = os.urandom(3 * MB)
    (tmp_path / "mine.pt").write_bytes(content)
    (tmp_path / "large.pt").write_bytes(bytes(5 * MB))
    with served(tmp_path / "home", GSC_UPLOAD_SESSION_MB="4", GSC_WORKERS="elsewhere") as server:
        refused = Visitor(browser, server, "models")
        refused.page.locator(".st-key-model_file input").set_input_files(tmp_path / "large.pt")
        expect(refused.page.locator(".st-key-model_file")).to_contain_text("413")
        refused.page.close()
        assert not spooled(server)
        visitor = Visitor(browser, server, "models")
        visitor.page.locator(".st-key-model_file input").set_input_files(tmp_path / "mine.pt")
        until(lambda: [path.stat().st_size for path in spooled(server)] == [len(content)])
        add = visitor.page.locator(".st-key-model_add button")
        expect(visitor.page.locator(".st-key-model_name input")).to_have_attribute(
            "placeholder", "mine"
        )
        add.click()
        visitor.page.wait_for_url("**model=*")
        digest = hashlib.sha256(content).hexdigest()
        assert (server.home / "models" / digest / "mine.pt").read_bytes() == content
        visitor.page.close()


def test_there_is_a_limit_and_all_goes_when_the_visitor_does(browser, tmp_path):
    limits = {"GSC_UPLOAD_SESSION_MB": "3", "GSC_UPLOAD_TOTAL_MB": "5"}
    short = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "0"}
    with served(tmp_path / "home", GSC_WORKERS="elsewhere", **limits, **short) as server:
        one, other = (Visitor(browser, server, "models") for _ in range(2))
        assert one.sends(2 * MB)[0] == 204
        assert one.sends(2 * MB) == (
            413,
            "Your uploads are more than 3 MB, the most a visitor may send: remove some, or add "
            "those first.",
        )
        assert other.sends(2 * MB)[0] == 204
        assert other.sends(900_000)[0] == 204
        third = Visitor(browser, server, "models")
        assert third.sends(2 * MB) == (
            413,
            "All uploads together are more than 5 MB: try again later, or ask the operator.",
        )
        assert third.sends(100, files=2) == (400, "Send one file at a time.")
        assert third.sends(100, files=0) == (400, "Send one file at a time.")
        other.session = one.session  # whoever knows a session's id is that session, and no more
        assert other.sends(2 * MB)[0] == 413
        one.page.close()
        until(lambda: sum(path.stat().st_size for path in spooled(server)) == 2_900_000)
        assert third.sends(2 * MB)[0] == 204
        other.page.close()
        third.page.close()
        until(lambda: not spooled(server))
    assert not server.home.joinpath("uploads").exists()
