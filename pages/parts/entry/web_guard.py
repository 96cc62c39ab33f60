"""What a browser may do with the app, and who may ask it: headers, foreign origins."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.parts.entry.semantics import SCRIPT

_FEATURES = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"


class WebGuard:
    """An ASGI layer around the app: every answer has the headers, and some questions have none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a page of another site, and add the headers."""
        if scope["type"] == "websocket" and not is_own_page(Headers(scope=scope)):
            await send({"type": "websocket.close", "code": 1008})  # which answers 403
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers())
            await send(message)

        await self._app(scope, receive, with_headers)


def is_own_page(request: Headers) -> bool:
    """Whether a connection comes from a page of this app, or from no page at all.

    Streamlit answers this too, but for a foreign page it first asks the Internet for its address.
    """
    origin = request.get("origin")
    if origin is None:
        return True
    try:
        page = urlsplit(origin)
        if page.netloc and page.netloc == request.get("host"):
            return True
        return page.hostname in _named_by_the_operator()
    except ValueError:
        return False


def _named_by_the_operator() -> frozenset[str | None]:
    named = [st.get_option("browser.serverAddress"), *st.get_option("server.corsAllowedOrigins")]
    return frozenset(
        urlsplit(each if "//" in each else f"//{each}").hostname for each in named if each
    )


@functools.cache
def headers() -> dict[str, str]:
    """What every answer carries."""
    return {
        "Content-Security-Policy": "; ".join(
            f"{what} {' '.join(sources)}" for what, sources in _policy().items()
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",  # for browsers that know no frame-ancestors
        "Referrer-Policy": "same-origin",  # the address of a shared report is a secret
        "Permissions-Policy": _FEATURES,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _policy() -> dict[str, tuple[str, ...]]:
    """What the pages of Streamlit load and run, and nothing else."""
    own = "'self'"
    return {
        "default-src": (own,),
        "script-src": (own, *_inline_scripts()),
        "style-src": (own, "'unsafe-inline'"),
        "img-src": (own, "data:", "blob:"),
        "font-src": (own, "data:"),
        "connect-src": (own,),
        "worker-src": (own, "blob:"),
        "object-src": ("'none'",),
        "base-uri": (own,),
        "form-action": (own,),
        "frame-ancestors": ("'none'",),
    }


def _inline_scripts() -> list[str]:
    """The scripts in Streamlit's own page, and the one that the app adds, by their digests."""
    page = Path(st.__file__).parent.joinpath("static", "index.html").read_text(encoding="utf-8")
    digests = (
        hashlib.sha256(script.encode()).digest()
        for script in (*re.findall(r"<script>(.*?)</script>", page, re.DOTALL), SCRIPT)
    )
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
