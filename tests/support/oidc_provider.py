"""A real OpenID Connect provider on this machine alone, and a login at it.

It is the package oidc-provider-mock of requirements-dev.txt, in a process of its own: discovery,
keys, codes and signed tokens as any provider has them. OIDC_PYTHON names another Python that has
the package, where the tests' own must stay as it is.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from browser import PATIENCE, free_port
from playwright.sync_api import Page

People = Mapping[str, Mapping[str, object]]
"""What the provider says of each person, by the name it calls them."""


def python_with_provider() -> str | None:
    """A Python that can run the provider; None where there is none."""
    for python in (sys.executable, os.environ.get("OIDC_PYTHON")):
        if (
            python
            and not subprocess.run(
                [python, "-c", "import oidc_provider_mock"], capture_output=True, check=False
            ).returncode
        ):
            return python
    return None


@contextmanager
def provided(people: People, log: Path) -> Iterator[str]:
    """The address of a provider that has accounts for these people."""
    python, port = python_with_provider(), free_port()
    assert python is not None
    claims = [json.dumps({"sub": sub, **said}) for sub, said in people.items()]
    command = [python, "-m", "oidc_provider_mock", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *(word for claim in claims for word in ("--user-claims", claim))],
            stdout=output,
            stderr=output,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def secrets(provider: str, port: int, gsc: str) -> str:
    """`secrets.toml` of an app at a port of this machine, with its `[gsc]` section."""
    return f"""
[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "a secret of these tests, long enough to sign with"
client_id = "gsc"
client_secret = "another"
server_metadata_url = "{provider}/.well-known/openid-configuration"

[gsc]
{gsc}
"""


def log_in(page: Page, app: str, person: str) -> None:
    """From whatever page of the app asks for it, to the app's first page as this person."""
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name=person, exact=True).click()
    page.wait_for_url(f"{app}/**")


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/.well-known/openid-configuration") as answer:
                if answer.status == 200:
                    return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"The provider does not answer:\n{log.read_text()}")
