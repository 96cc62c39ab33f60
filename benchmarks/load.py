"""Twenty people at once while an audit runs, and a flood of uploads of somebody who is not in.

    python -m benchmarks.load [--sessions 20] [--browsers 4] [--rounds 2] [--rest 300]

Starts the real server on a temporary workspace. An audit of 2,000 rendered images runs; twenty
sessions open each page of the app at the same moment. They speak Streamlit's protocol and are no
browsers: a page costs Chromium two CPU seconds, so that twenty of them on the server's own cores
would time one another. A few real pages then show that none sees what another typed. All close, and
after a rest the server's memory is compared with what it was after the first visitor. With a login
set up, a session that is not in sends files of 50 MB: each must be refused, and memory stay flat.

Figures with a limit are for two cores that are otherwise idle.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from playwright.sync_api import Page

from benchmarks.answering import specification
from benchmarks.browsing import Measured, chromium, serving
from benchmarks.sessions import all_at_once
from gsc_core.audit.spec import AuditSpec
from gsc_core.demo import render_demo
from gsc_core.jobs import queue
from gsc_core.jobs.database import ENDED, Kind
from gsc_core.workspace import audits

DRAWN_S, GROWN, FLOOD_BYTES = 5.0, 1.10, 50_000_000
PAGES = ("", "models", "image-sets", "new-audit", "runs", "results")
AT_REST = ".stApp[data-test-script-state=notRunning]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--browsers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rest", type=float, default=300, help="seconds before memory is read")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["GSC_HOME"] = str(folder / "home")
        os.environ["STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL"] = "5"
        rendered = render_demo(folder / "rendered")
        spec = specification(folder, rendered["id"], rendered["textures"], 1000)
        measured = list(crowd(spec, options))
        measured += flood(folder)
    for each in measured:
        sys.stdout.write(each.line() + "\n")
    return int(any(each.limit is not None and each.value > each.limit for each in measured))


def crowd(spec: AuditSpec, options: argparse.Namespace) -> Iterator[Measured]:
    """The slowest page, names that one session saw of another, and what memory came back to."""
    with serving() as (address, server), chromium() as browser:
        first = browser.new_page()
        drawn(first, f"{address}/")
        first.close()
        before = resident(server.pid)
        run_id = audits.submit_audit(spec, "An audit", 0)
        views = [
            view
            for _ in range(options.rounds)
            for path in PAGES
            for view in all_at_once(address, path, options.sessions)
        ]
        seconds = sorted(view.seconds for view in views)
        job = queue.latest(run_id, Kind.AUDIT)
        yield Measured("slowest page", seconds[-1], DRAWN_S, "s")
        yield Measured("median page", seconds[len(seconds) // 2], None, "s")
        yield Measured("largest page", max(view.size for view in views), 1e6, "bytes")
        yield Measured("pages that raised", float(sum(bool(v.raised) for v in views)), 0, "")
        yield Measured("audit has ended", float(job is None or job.state in ENDED), 0, "")
        contexts = [browser.new_context() for _ in range(options.browsers)]
        people = [context.new_page() for context in contexts]
        seen = leaks(address, people)
        yield Measured("sessions that saw another's note", float(seen), 0, "")
        highest = resident(server.pid)
        for context in contexts:
            context.close()
        deadline = time.monotonic() + options.rest
        while time.monotonic() < deadline and resident(server.pid) > GROWN * before:
            time.sleep(1)
        yield Measured("memory after the first visitor", before, None, "bytes")
        yield Measured("memory with all of them", highest, None, "bytes")
        yield Measured(
            "memory in the end, times the first", resident(server.pid) / before, GROWN, ""
        )


def leaks(address: str, people: list[Page]) -> int:
    """How many see in a field of theirs what another typed."""
    for number, page in enumerate(people):
        page.goto(f"{address}/models")
        page.wait_for_selector(AT_REST)
        field = page.locator(".st-key-model_name input").first
        field.fill(f"note {number}")
        field.press("Enter")
    count = 0
    for number, page in enumerate(people):
        page.wait_for_selector(AT_REST)
        value = page.locator(".st-key-model_name input").first.input_value()
        count += value != f"note {number}"
    return count


def flood(folder: Path, files: int = 20) -> list[Measured]:
    """Files of somebody whom a login keeps out."""
    secrets = folder / "secrets.toml"
    secrets.write_text(
        '[auth]\nredirect_uri = "http://localhost/oauth2callback"\ncookie_secret = "x"\n'
        'client_id = "x"\nclient_secret = "x"\nserver_metadata_url = "http://127.0.0.1:9/"\n'
    )
    os.environ["STREAMLIT_SECRETS_FILES"] = str(secrets)
    with serving() as (address, server), chromium() as browser:
        page = browser.new_page()
        drawn(page, f"{address}/")
        before = resident(server.pid)
        taken = sum(sent(address) != 403 for _ in range(files))
        grown = resident(server.pid) - before
        stored = sum(f.stat().st_size for f in folder.joinpath("home", "uploads").rglob("*"))
    return [
        Measured("files taken of who is not in", float(taken), 0, ""),
        Measured("memory that they took", max(0, grown), FLOOD_BYTES / 2, "bytes"),
        Measured("disk that they took", stored, 0, "bytes"),
    ]


def sent(address: str) -> int:
    """The status of one large file; 403 too where the connection was closed on it."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.request("PUT", "/_stcore/upload_file/guess/file", bytes(FLOOD_BYTES))
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return 403
    finally:
        connection.close()


def drawn(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(AT_REST)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
