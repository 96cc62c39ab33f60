"""What the server answers besides pages: its headers, foreign origins, metrics; work unvisited."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Served, served
from starlette.datastructures import Headers
from states import until
from uploads import packed, png

from gsc_core.jobs.database import Readiness
from gsc_core.workspace import imagesets
from pages.parts.entry.web_guard import is_own_page

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "streamlit",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served") / "home", GSC_WORKERS="elsewhere") as one:
        yield one


def asked(server: Served, path: str, method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    connection.close()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/results",
        "/_stcore/health",
        "/_stcore/metrics",
        "/_stcore/host-config",
        "/_stcore/upload_file/a/b",
        "/media/nothing",
        "/nothing/at/all.js",
        "/oauth2callback",
    ],
)
def test_every_answer_has_the_headers(server, path):
    headers = asked(server, path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert policy["default-src"] == policy["connect-src"] == policy["base-uri"] == "'self'"
    assert "unsafe" not in policy["script-src"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.slow
def test_the_metrics_are_closed(server):
    for path in ("/_stcore/metrics", "/_stcore/metrics?families=cache_memory_bytes"):
        assert asked(server, path).status == 404
    assert asked(server, "/_stcore/health").status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("own", 101),
        ("http://localhost:9", 101),  # browser.serverAddress
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_site_gets_no_connection(server, origin, status):
    sent = HANDSHAKE if origin is None else HANDSHAKE | {"Origin": origin}
    sent = sent | ({"Origin": server.address} if origin == "own" else {})
    assert asked(server, "/_stcore/stream", **sent).status == status


@pytest.mark.parametrize(
    ("named", "origin", "own"),
    [
        ([], "https://audit.example.org", False),
        (["https://audit.example.org"], "https://audit.example.org", True),
        (["audit.example.org"], "https://audit.example.org:8443", True),
        (["audit.example.org"], "https://audit.example.org.evil.example", False),
        (["http://["], "https://audit.example.org", False),
    ],
)
def test_the_operator_names_other_addresses(named, origin, own, monkeypatch):
    options = {"browser.serverAddress": "localhost", "server.corsAllowedOrigins": named}
    monkeypatch.setattr("streamlit.get_option", options.__getitem__)
    assert is_own_page(Headers({"origin": origin, "host": "127.0.0.1:8501"})) is own


@pytest.mark.slow
def test_work_that_waited_is_done_though_nobody_comes_and_metrics_can_be_open(
    tmp_path, monkeypatch
):
    """A restarted server takes up what was queued when the last one ended."""
    home = tmp_path / "home"
    monkeypatch.setenv("GSC_HOME", str(home))
    stored = imagesets.add_upload([("x.zip", packed({"1.png": png(1)}))], name="x", role="ood")
    assert imagesets.image_set(stored.id).readiness is Readiness.WAITING
    with served(Path(home), GSC_METRICS="open") as server:
        assert asked(server, "/_stcore/metrics").status == 200
        until(lambda: imagesets.image_set(stored.id).readiness is Readiness.READY)
