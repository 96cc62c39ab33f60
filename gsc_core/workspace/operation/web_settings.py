"""How the web app is set up, read as Streamlit reads it, without Streamlit."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG, SECRETS = Path(".streamlit", "config.toml"), Path(".streamlit", "secrets.toml")
_USUAL_UPLOAD_MB = 200


@dataclass(frozen=True)
class WebSettings:
    """Where the app listens (None: everywhere), what it takes, and its login.

    `unreadable` is the file that could not be read; `people` what stands in `[gsc]` beside the
    login, None where there is no such table.
    """

    has_config: bool
    address: str | None
    max_upload_mb: int
    has_login: bool
    people: object | None
    unreadable: Path | None = None

    @property
    def listens_here_only(self) -> bool:
        """Whether other machines cannot reach the app."""
        return listens_here_only(self.address)


def listens_here_only(address: str | None) -> bool:
    """Whether a server at this address can be reached from this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "0.0.0.0").is_loopback  # noqa: S104 - none is all
    except ValueError:
        return False


def web_settings(folder: Path) -> WebSettings:
    """The settings of an app that is started in a folder, with this environment."""
    bad: list[Path] = []
    server: dict[str, Any] = {}
    for place in (Path.home(), folder):
        server |= dict(_table(place / CONFIG, bad).get("server", {}))
    address = os.environ.get("STREAMLIT_SERVER_ADDRESS") or server.get("address")
    upload = os.environ.get("STREAMLIT_SERVER_MAX_UPLOAD_SIZE") or server.get("maxUploadSize")
    named = os.environ.get("STREAMLIT_SECRETS_FILES")
    places = map(Path, named.split()) if named else (Path.home() / SECRETS, folder / SECRETS)
    secrets: dict[str, Any] = {}
    for place in places:
        secrets |= _table(place, bad)
    return WebSettings(
        has_config=(folder / CONFIG).exists(),
        address=address,
        max_upload_mb=int(upload or _USUAL_UPLOAD_MB),
        has_login="auth" in secrets,
        people=secrets.get("gsc"),
        unreadable=next(iter(bad), None),
    )


def _table(file: Path, bad: list[Path]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        bad.append(file)
        return {}
