"""What comes before Streamlit's upload address: only sessions that are in may send, onto the disk.

Streamlit keeps an uploaded file in memory until its session ends, whoever sends it. Here it is
written to the spool, and Streamlit gets an empty file of that name: `received` on a page gives what
was sent. A session that was not let in is refused before a byte of the file is read.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import streamlit as st
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from gsc_core.errors import GscError
from gsc_core.team.roles import Person
from gsc_core.team.settings import QuotaError
from gsc_core.workspace.upload_spool import Departures, UploadSpool, upload_spool

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_ADDRESS = re.compile(r".*/_stcore/upload_file/([^/]+)/([^/]+)", re.DOTALL)
_AT_ONCE = 2**20  # bytes that are written in one go
_MB = 2**20
_FRAME_BYTES = 64 * 1024  # bytes of a request that are not a file
_LOOK_S = 5.0
OUTSIDE = "Only visitors who were let in may send files: open the app, log in, and try again."


def let_in(may_send: bool, person: Person) -> None:
    """Whether the visitor whose page is being drawn, this person, may send files."""
    context = get_script_run_ctx()
    if context is not None:
        upload_spool().let_in(context.session_id, may_send, person.name, person.until)


@asynccontextmanager
async def uploads_kept() -> AsyncIterator[None]:
    """Remove uploads when their sessions have ended, and all when the server does."""
    spool = upload_spool()
    await run_in_threadpool(spool.remove_abandoned)
    watching = asyncio.create_task(_release_ended(spool))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        spool.close()


async def _release_ended(spool: UploadSpool) -> None:
    departures = Departures(float(st.get_option("server.disconnectedSessionTTL")))
    while True:
        is_there = runtime.get_instance().is_active_session
        for session in departures.ended(spool.sessions(), is_there, time.monotonic()):
            await run_in_threadpool(spool.release, session)
        await asyncio.sleep(_LOOK_S)


class UploadGuard:
    """An ASGI layer around the app that takes uploads to the spool."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not an upload."""
        address = _ADDRESS.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if address is None or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        session, file = address[1], address[2]
        spool = upload_spool()
        if not (spool.may_send(session) and runtime.get_instance().is_active_session(session)):
            await PlainTextResponse(OUTSIDE, 403)(scope, receive, send)
        elif scope["method"] == "PUT":
            await self._put(spool, session, file, scope, receive, send)
        else:
            spool.drop(session, file)
            await self._app(scope, receive, send)

    async def _put(
        self,
        spool: UploadSpool,
        session: str,
        file: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            with spool.receiving(session, file) as write:
                frame = await _received(Request(scope, receive), write)
        except QuotaError as error:
            refusal = PlainTextResponse(str(error), 413)
        except (FormParserError, _NotOneFile, ValueError):
            refusal = PlainTextResponse("Send one file at a time.", 400)
        except GscError as error:
            refusal = PlainTextResponse(str(error), 507)
        except ClientDisconnect:
            return
        else:  # it is there before the page is told so
            if await self._without_content(frame, scope, send) != 204:
                spool.drop(session, file)
            return
        await refusal(scope, receive, send)

    async def _without_content(self, frame: bytes, scope: Scope, send: Send) -> int:
        """Give Streamlit the request without what the file holds; its status."""
        headers = MutableHeaders(raw=[*scope["headers"]])
        headers["content-length"] = str(len(frame))
        del headers["transfer-encoding"]
        status = 0

        async def whole() -> Message:
            return {"type": "http.request", "body": frame, "more_body": False}

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app({**scope, "headers": headers.raw}, whole, noting)
        return status


class _NotOneFile(Exception):  # noqa: N818 - said by its catcher
    """The request holds none, or several."""


async def _received(request: Request, write: Callable[[bytes], None]) -> bytes:
    """Have the file in a request written piece by piece; gives the request without it.

    Raises FormParserError or _NotOneFile for another kind of request, and QuotaError for a file
    larger than the server takes.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise _NotOneFile
    boundary = options[b"boundary"]
    file = _OneFile()
    parser = MultipartParser(boundary, file.callbacks())
    most, taken = _most(), 0
    if int(request.headers.get("content-length") or 0) > most + _FRAME_BYTES:
        raise QuotaError(_too_large())
    async for chunk in request.stream():
        taken += len(chunk)
        if taken > most + _FRAME_BYTES:
            raise QuotaError(_too_large())
        parser.write(chunk)
        if len(file.pieces) >= _AT_ONCE:
            await run_in_threadpool(write, file.taken())
    parser.finalize()
    if not (file.whole and file.parts == file.named == 1):
        raise _NotOneFile
    await run_in_threadpool(write, file.taken())
    return b"--%b\r\n%b\r\n\r\n--%b--\r\n" % (boundary, bytes(file.head), boundary)


class _OneFile:
    """What a parser says of a body with one file: what stands before it, and its bytes."""

    def __init__(self) -> None:
        self.head, self.pieces = bytearray(), bytearray()
        self.parts = self.named = 0
        self.whole = False
        self._field, self._value = bytearray(), bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self.pieces.extend(data[start:end]),
            "on_end": self._end,
        }

    def taken(self) -> bytes:
        """The bytes that came since this was called last."""
        pieces, self.pieces = bytes(self.pieces), bytearray()
        return pieces

    def _begin(self) -> None:
        self.parts += 1

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self.named += b"filename" in parse_options_header(bytes(self._value))[1]
        self.head += b"%b: %b\r\n" % (bytes(self._field), bytes(self._value))
        self._field.clear()
        self._value.clear()

    def _end(self) -> None:
        self.whole = True


def _most() -> int:
    """Bytes a file may have."""
    return int(st.get_option("server.maxUploadSize")) * _MB


def _too_large() -> str:
    return f"A file may have at most {_most() / 10**6:,.0f} MB: send a smaller one."
