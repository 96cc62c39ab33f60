"""Two addresses for operators: is the app well, and its figures as Prometheus reads them.

`/_gsc/health` answers anybody, with words and no figures; 503 when something is bad.
`/_gsc/metrics` needs the token, or that `metrics` is open or, for this machine, loopback.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import time
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import runtime

from gsc_core.errors import GscError
from gsc_core.jobs.configuration import Configuration, configuration
from gsc_core.workspace.operation import prometheus
from gsc_core.workspace.operation.check import Level, worst
from gsc_core.workspace.operation.health import Health, health
from gsc_core.workspace.operation.prometheus import Gauge
from gsc_core.workspace.upload_spool import upload_spool

HEALTH, METRICS, OF_STREAMLIT = "/_gsc/health", "/_gsc/metrics", "/_stcore/metrics"
CLOSED = "The metrics are closed."
_FRESH_S = 2.0  # for so long an answer is given again: asking costs nobody anything
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class OperatorDoor:
    """An ASGI layer around the app that answers these two, and closes Streamlit's own metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._asking = asyncio.Lock()
        self._seen: tuple[float, Health] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is neither."""
        answer = await self._answer(scope) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response | None:
        path = scope["path"]
        if path.endswith(HEALTH):
            return _health(await self._health())
        if path.endswith((METRICS, OF_STREAMLIT)):
            if not may_read(scope):
                return PlainTextResponse(CLOSED, 404)
            if path.endswith(METRICS):
                figures = prometheus.gauges(await self._health()) + _of_server()
                return Response(prometheus.text(figures), media_type=prometheus.CONTENT_TYPE)
        return None

    async def _health(self) -> Health:
        async with self._asking:
            if self._seen is None or time.monotonic() - self._seen[0] > _FRESH_S:
                self._seen = time.monotonic(), await run_in_threadpool(health)
            return self._seen[1]


def may_read(scope: Scope) -> bool:
    """Whether a request may have the metrics."""
    try:
        settings = configuration()
    except GscError:  # the file was changed for the worse meanwhile
        return False
    headers = Headers(scope=scope)
    return (
        settings.metrics == "open"
        or _has_token(headers, settings)
        or (settings.metrics == "loopback" and _is_of_this_machine(scope, headers))
    )


def _has_token(headers: Headers, settings: Configuration) -> bool:
    token = settings.metrics_token
    if token is None:
        return False
    expected = f"Bearer {token.get_secret_value()}".encode()
    return hmac.compare_digest(headers.get("authorization", "").encode(), expected)


def _is_of_this_machine(scope: Scope, headers: Headers) -> bool:
    """Not what a proxy on this machine passes on, as far as it says so."""
    host = (scope.get("client") or ("",))[0]
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return here and not any(name in headers for name in _FORWARDED)


def _health(seen: Health) -> JSONResponse:
    checks = seen.checks()
    level = worst(checks)
    words = {"status": level.value} | {check.name: check.level.value for check in checks}
    return JSONResponse(words, 503 if level is Level.BAD else 200, {"Cache-Control": "no-store"})


def _of_server() -> list[Gauge]:
    """What this server holds beside the workspace."""
    sessions = upload_spool().sessions()
    connected = sum(map(runtime.get_instance().is_active_session, sessions))
    figures = [
        Gauge("gsc_sessions", "Visitors who are in and connected.", (({}, float(connected)),)),
        Gauge("gsc_upload_bytes", "Uploads on the disk.", (({}, float(upload_spool().held())),)),
    ]
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text(encoding="ascii").split()[1])
        resident = float(pages * os.sysconf("SC_PAGE_SIZE"))
        figures.append(Gauge("gsc_app_resident_bytes", "Memory of the server.", (({}, resident),)))
    return figures
