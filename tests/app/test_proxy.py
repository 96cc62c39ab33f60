"""The nginx in the documents, run before the app: TLS, headers, limits, and what it logs."""

import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import pytest
import streamlit
from browser import Served, free_port, served
from places import ROOT
from states import until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        NGINX is None or shutil.which("openssl") is None,
        reason="no nginx here: install nginx-light",
    ),
]
SECRET = "a-token-of-a-shared-report"


@contextmanager
def proxied(folder: Path, app: str) -> Iterator[tuple[str, Path]]:
    """The proxy's address and the folder of its logs."""
    assert NGINX is not None
    folder.mkdir()
    key, certificate = folder / "audit.key", folder / "audit.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*made, *names], check=True, capture_output=True)
    secure, plain = free_port(), free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for ours, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "listen 80": f"listen 127.0.0.1:{plain}",
        "/etc/ssl/audit": f"{folder}/audit",
        "/var/log/nginx/": f"{folder}/",
        "http://127.0.0.1:8501": app,
    }.items():
        assert ours in text
        text = text.replace(ours, here)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "whole.conf"
    config.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ {temporary} {text} }}")
    command = [NGINX, "-c", str(config), "-e", str(folder / "start.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    process = subprocess.Popen(command)
    try:
        until((folder / "pid").exists)
        yield f"https://127.0.0.1:{secure}", folder
    finally:
        process.terminate()
        process.wait()


def asked(address: str, *, body: bytes | None = None, **headers: str) -> tuple[int, Message]:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(
        address, body, headers, method="GET" if body is None else "PUT"
    )
    try:
        with urllib.request.urlopen(request, context=trusting) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("x") / "home", GSC_METRICS="loopback") as one:
        yield one


def test_pages_pass_with_all_headers_and_limits_hold(server, tmp_path):
    with proxied(tmp_path / "nginx", server.address) as (address, _):
        status, headers = asked(f"{address}/")
        assert status == 200
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Server"] == "nginx"
        assert asked(f"{address}/_gsc/health")[0] == 200
        handshake = {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        assert asked(f"{address}/_stcore/stream", **handshake, Origin="https://e.example")[0] == 403
        upload = f"{address}/_stcore/upload_file/session/file"
        assert asked(upload, body=b"x")[0] == 403
        assert asked(upload, body=b"x", Cookie="_streamlit_user=guess")[0] == 403
        assert asked(f"{address}/anything", body=bytes(2 * 2**20))[0] == 413
        for path in ("/_gsc/metrics", "/_stcore/metrics"):
            assert asked(address + path)[0] == 404
    assert asked(f"{server.address}/_gsc/metrics")[0] == 200, "of this machine, past the proxy"


def test_the_files_of_the_pages_come_packed_and_nothing_else_does(server, tmp_path):
    packing = {"Accept-Encoding": "gzip"}
    shipped = Path(streamlit.__file__).with_name("static")
    files = [*shipped.rglob("*.js"), *shipped.rglob("*.css")]
    with proxied(tmp_path / "nginx", server.address) as (address, _):
        for file in (max(files, key=lambda each: each.stat().st_size), files[-1]):
            status, headers = asked(f"{address}/{file.relative_to(shipped)}", **packing)
            assert (status, headers["Content-Encoding"]) == (200, "gzip")
            assert "immutable" in headers["Cache-Control"]
            assert headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/", f"/?share={SECRET}"):
            assert asked(address + path, **packing)[1]["Content-Encoding"] is None


def test_addresses_of_shared_reports_are_in_no_log(server, tmp_path):
    shared = f"/?share={SECRET}"
    for place, app in (("up", server.address), ("down", f"http://127.0.0.1:{free_port()}")):
        with proxied(tmp_path / place, app) as (address, folder):
            asked(address + shared)
            asked(f"{address}/?x=1&share={SECRET}")
            asked(f"{address}/static/x.js", Referer=address + shared)
            until(lambda log=folder / "audit.log": "/static/x.js" in log.read_text())
        logs = [path.read_text(errors="replace") for path in folder.glob("*.log")]
        assert logs and not any(SECRET in log for log in logs)
